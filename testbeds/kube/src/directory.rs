//! A directory that goes with its owner.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use weir_testbeds::unique::{self, Owner};

const LABEL: &str = "kube";

/// A directory in the temporary directory.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> io::Result<Self> {
        remove_orphans();
        let path = std::env::temp_dir().join(unique::name(LABEL));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What stays in the temporary directory is no reason to fail a test.
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// Removes what tests that were killed could not remove themselves.
fn remove_orphans() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let ours = name.to_str().filter(|name| name.ends_with(LABEL));
        if ours
            .and_then(Owner::of_name)
            .is_some_and(|owner| !owner.is_alive())
        {
            fs::remove_dir_all(entry.path()).unwrap_or_default();
        }
    }
}
