//! A cgroup of the probe's own, without processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::trial::refused_io;
use super::unique_name;
use crate::check::Outcome;

/// Removed when dropped; programs attached to it never run.
pub struct ProbeCgroup {
    path: PathBuf,
    /// The cgroup itself.
    pub directory: File,
    /// Where Weir would attach.
    pub parent: File,
}

impl ProbeCgroup {
    pub fn create(parent: Option<&Path>) -> Result<Self, Outcome> {
        let parent = parent.ok_or_else(|| Outcome::missing("no cgroup2 is mounted"))?;
        let refused = |error| refused_io(&format!("a cgroup below {}", parent.display()), &error);
        let parent_directory = File::open(parent).map_err(refused)?;
        let path = parent.join(unique_name());
        fs::create_dir(&path).map_err(refused)?;
        match File::open(&path) {
            Ok(directory) => Ok(Self {
                path,
                directory,
                parent: parent_directory,
            }),
            Err(error) => {
                remove(&path);
                Err(refused(error))
            }
        }
    }
}

impl Drop for ProbeCgroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir(path) {
        tracing::warn!(path = %path.display(), %error, "the probe's cgroup stays behind");
    }
}
