//! Takes the plugin out of the chain.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::chain::Chain;
use super::replace::draft_of;
use super::{CONFLIST, ConfError, PLUGIN};

/// The files that were there.
pub type RemovedFiles = Vec<PathBuf>;

/// Removes our file, then the plugin that it calls; the primary CNI's own file is in force from then on.
///
/// # Errors
/// [`ConfError`]; a plugin whose chain could not be removed stays, or no pod would start.
pub fn remove(conf_dir: &Path, bin_dir: &Path, last_word: &Path) -> Result<RemovedFiles, ConfError> {
    let conflist = conf_dir.join(CONFLIST);
    let mut removed = RemovedFiles::new();
    if is_ours(&conflist)? {
        remove_file(&conflist, &mut removed)?;
    }
    for path in [
        bin_dir.join(PLUGIN),
        draft_of(conf_dir, CONFLIST),
        draft_of(bin_dir, PLUGIN),
        last_word.to_owned(),
    ] {
        remove_file(&path, &mut removed)?;
    }
    Ok(removed)
}

fn is_ours(conflist: &Path) -> Result<bool, ConfError> {
    match fs::read_to_string(conflist) {
        // Nobody else has a file of this name, unless it is a chain without our plugin.
        Ok(text) => Ok(Chain::read(&text).map_or(true, |chain| chain.has(PLUGIN))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(ConfError::at("read", conflist)(error)),
    }
}

fn remove_file(path: &Path, removed: &mut RemovedFiles) -> Result<(), ConfError> {
    match fs::remove_file(path) {
        Ok(()) => removed.push(path.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ConfError::at("remove", path)(error)),
    }
    Ok(())
}
