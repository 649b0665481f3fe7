//! Child cgroups that are empty and gone when their guard is dropped.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::deadline::{PATIENCE, eventually};
use crate::mountinfo::{TABLE, mounts};
use crate::unique::{self, Owner};

/// Why a cgroup could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup2 file system is mounted.
    #[error("no cgroup2 file system is mounted: mount one with `mount -t cgroup2 none /sys/fs/cgroup`")]
    NotMounted,
    /// The kernel refused a step.
    #[error("cannot {step} {path}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A cgroup; dropping it kills its members and removes it.
///
/// The directory alone outlives a killed owner; the next owner on the machine removes it.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a cgroup directly under the mount.
    pub fn new(label: &str) -> Result<Self, Error> {
        let root = root()?;
        remove_orphans(&root)?;
        Self::make(root.join(unique::name(label)))
    }

    /// Makes a cgroup under this one; drop it first.
    pub fn child(&self, name: &str) -> Result<Self, Error> {
        Self::make(self.path.join(name))
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id by which BPF programs know it.
    pub fn id(&self) -> Result<u64, Error> {
        Ok(fs::metadata(&self.path)
            .map_err(refused("read", &self.path))?
            .ino())
    }

    /// Moves a process in.
    pub fn add(&self, process: u32) -> Result<(), Error> {
        let path = self.path.join("cgroup.procs");
        fs::write(&path, process.to_string()).map_err(refused("move a process into", &path))
    }

    /// The processes in it, without those in its children.
    pub fn members(&self) -> Result<Vec<u32>, Error> {
        members(&self.path).map_err(refused("list the members of", &self.path))
    }

    fn make(path: PathBuf) -> Result<Self, Error> {
        fs::create_dir(&path).map_err(refused("create", &path))?;
        Ok(Self { path })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next owner, and reported by the residue check.
        remove(&self.path).unwrap_or_default();
    }
}

/// The mount point of the cgroup2 file system.
pub fn root() -> Result<PathBuf, Error> {
    let path = Path::new(TABLE);
    mounts("cgroup2")
        .map_err(refused("read", path))?
        .into_iter()
        .next()
        .ok_or(Error::NotMounted)
}

/// Our cgroups under the mount, with their owners.
pub fn ours() -> Result<Vec<(PathBuf, Owner)>, Error> {
    ours_in(&root()?)
}

fn ours_in(root: &Path) -> Result<Vec<(PathBuf, Owner)>, Error> {
    let entries = fs::read_dir(root).map_err(refused("list", root))?;
    let paths = entries.filter_map(|entry| entry.map(|entry| entry.path()).ok());
    Ok(paths
        .filter_map(|path| Some((path.clone(), Owner::of_name(path.file_name()?.to_str()?)?)))
        .collect())
}

fn remove_orphans(root: &Path) -> Result<(), Error> {
    for (path, owner) in ours_in(root)? {
        if !owner.is_alive() {
            // Another process may be doing the same.
            remove(&path).unwrap_or_default();
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    // A killed process leaves a moment later, and one that was just started may yet come in.
    let removed = eventually(PATIENCE, || {
        match kill_members(path).and_then(|()| fs::remove_dir(path)) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => None,
            outcome => Some(outcome),
        }
    });
    removed.unwrap_or_else(|expired| Err(io::Error::other(expired)))
}

fn kill_members(path: &Path) -> io::Result<()> {
    // Since Linux 5.14.
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return Ok(());
    }
    for member in members(path)? {
        // One that has ended in the meantime needs no signal.
        kill(Pid::from_raw(member as i32), Signal::SIGKILL).unwrap_or_default();
    }
    Ok(())
}

fn members(path: &Path) -> io::Result<Vec<u32>> {
    let list = fs::read_to_string(path.join("cgroup.procs"))?;
    Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
}

fn refused(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { step, path, source }
}
