//! Names for namespaces under `/run/netns`, where `ip netns` and people look for them.

use std::fs::{File, create_dir_all, remove_file};
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::netns::Netns;

/// Where names are.
pub(crate) const DIRECTORY: &str = "/run/netns";

/// A name under `/run/netns` for a namespace; dropping it takes the name away again.
#[derive(Debug)]
pub struct Published {
    path: PathBuf,
    keep: bool,
}

impl Published {
    pub(crate) fn mount(netns: &Netns, name: &str) -> io::Result<Self> {
        create_dir_all(DIRECTORY)?;
        let path = Path::new(DIRECTORY).join(name);
        File::create_new(&path)?;
        // From here on the guard removes the file even if the mount fails.
        let published = Self { path, keep: false };
        let none: Option<&str> = None;
        mount(Some(&netns.path()), &published.path, none, MsFlags::MS_BIND, none)?;
        Ok(published)
    }

    /// Where the name is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the name, and with it the namespace, behind; returns its path.
    pub fn keep(mut self) -> PathBuf {
        self.keep = true;
        self.path.clone()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if !self.keep {
            // Both fail only if somebody else has already removed the name.
            umount2(&self.path, MntFlags::MNT_DETACH).unwrap_or_default();
            remove_file(&self.path).unwrap_or_default();
        }
    }
}
