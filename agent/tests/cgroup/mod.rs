//! A cgroup of a test's own, and processes in it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
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

    /// The number that links know it by.
    pub fn id(&self) -> u64 {
        self.directory.metadata().unwrap().ino()
    }

    /// Runs a line of bash in the cgroup.
    pub fn run(&self, script: &str) -> ExitStatus {
        // It waits for a line, so that nothing of the script runs before it is in the cgroup.
        let mut child = Waiting(
            Command::new("bash")
                .arg("-c")
                .arg(format!("read; {script}"))
                .stdin(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        fs::write(self.path.join("cgroup.procs"), child.0.id().to_string()).unwrap();
        child.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        child.0.wait().unwrap()
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

/// Ends the process if the test ends first.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is the usual case.
        drop(self.0.kill());
        drop(self.0.wait());
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
