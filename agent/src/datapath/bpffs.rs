//! The filesystem that holds the pins.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::DatapathError;
use crate::container;

/// Where bpffs belongs on every distribution.
const STANDARD: &str = "/sys/fs/bpf";

/// Makes sure that `directory` exists and lies on a bpffs; mounts one at the standard place if it is missing there.
///
/// # Errors
/// [`DatapathError`] names the path.
pub fn ensure(directory: &Path) -> Result<(), DatapathError> {
    if directory.starts_with(STANDARD) && !is_bpffs(Path::new(STANDARD))? {
        mount_standard(directory)?;
    }
    fs::create_dir_all(directory).map_err(DatapathError::io(directory))?;
    if is_bpffs(directory)? {
        Ok(())
    } else {
        let source = io::Error::other("not on a BPF filesystem");
        Err(DatapathError::Io {
            path: directory.to_owned(),
            source,
        })
    }
}

fn is_bpffs(path: &Path) -> Result<bool, DatapathError> {
    match statfs(path) {
        Ok(stat) => Ok(stat.filesystem_type() == BPF_FS_MAGIC),
        Err(nix::errno::Errno::ENOENT) => Ok(false),
        Err(errno) => Err(DatapathError::io(path)(errno.into())),
    }
}

fn mount_standard(needed_for: &Path) -> Result<(), DatapathError> {
    if container::is_inside() {
        // It would end with the container, and with it all that is pinned there.
        let source = io::Error::other("in a container it would end with the container; mount it on the node");
        return Err(DatapathError::Mount {
            path: needed_for.to_owned(),
            source,
        });
    }
    let none: Option<&str> = None;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    fs::create_dir_all(STANDARD)
        .and_then(|()| mount(Some("bpf"), STANDARD, Some("bpf"), flags, none).map_err(io::Error::from))
        .map_err(|source| DatapathError::Mount {
            path: needed_for.to_owned(),
            source,
        })
}
