//! A cgroup of a test's own.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A cgroup below the root, removed when dropped.
pub struct ChildCgroup {
    path: PathBuf,
    directory: File,
}

impl ChildCgroup {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = cgroup2_root().join(format!("weir_test.{}.{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let directory = File::open(&path).unwrap();
        Self { path, directory }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for ChildCgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Drop for ChildCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("{} stays behind: {error}", self.path.display());
        }
    }
}

/// Where cgroup2 is mounted, on its own or beside version 1.
pub fn cgroup2_root() -> &'static Path {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(Path::new)
        .find(|root| root.join("cgroup.controllers").exists())
        .expect("no cgroup2 is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified")
}
