//! Files that are replaced as a whole: whoever reads, and whatever fails, the old one or the new one is there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::ConfError;

/// Puts `content` at `directory/name`.
pub(super) fn replace(directory: &Path, name: &str, content: &[u8], mode: u32) -> Result<(), ConfError> {
    let path = directory.join(name);
    let draft = draft_of(directory, name);
    let written = write(&draft, content, mode).map_err(ConfError::at("write", &path));
    let renamed = written.and_then(|()| {
        fs::rename(&draft, &path).map_err(ConfError::at("replace", &path))?;
        // The name has to outlive a power cut as well as the content.
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(ConfError::at("write", directory))
    });
    if renamed.is_err() {
        // A draft that stays is in nobody's way, and is overwritten next time.
        fs::remove_file(&draft).unwrap_or_default();
    }
    renamed
}

/// Runtimes do not take it for a configuration, nor for a plugin of that name.
pub(super) fn draft_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!(".{name}.new"))
}

fn write(draft: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(draft)?;
    // A draft that was left behind may have another mode, and so may the process's mask have it.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}
