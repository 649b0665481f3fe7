//! Where each kernel object is pinned: functions of one base directory and nothing else.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use weir_common::names::{LAYOUT_VERSION, map};

use super::DatapathError;
use super::programs::NODE_PROGRAMS;

/// The paths of all pins below one directory.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
    layout: u32,
    base: PathBuf,
}

impl Pins {
    /// Pins of this layout version below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self::of_layout(root, LAYOUT_VERSION)
    }

    /// Pins of a layout version below `root`.
    #[must_use]
    pub fn of_layout(root: &Path, layout: u32) -> Self {
        Self {
            root: root.to_owned(),
            layout,
            base: root.join(format!("v{layout}")),
        }
    }

    /// Pins of the other layout versions below the same root, the oldest first.
    ///
    /// # Errors
    /// [`DatapathError`] if the root cannot be read; one that is not there has none.
    pub fn others(&self) -> Result<Vec<Self>, DatapathError> {
        let names = names(&self.root)?;
        let mut layouts: Vec<u32> = names
            .iter()
            .filter_map(|name| name.strip_prefix('v')?.parse().ok())
            .filter(|layout| *layout != self.layout)
            .collect();
        layouts.sort_unstable();
        let pins = layouts
            .into_iter()
            .map(|layout| Self::of_layout(&self.root, layout));
        Ok(pins.collect())
    }

    /// The version of the layout.
    #[must_use]
    pub const fn layout(&self) -> u32 {
        self.layout
    }

    /// The directory of this layout.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The directory that holds every layout version.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the node's programs and maps are pinned.
    #[must_use]
    pub fn exist(&self) -> bool {
        map::ALL.into_iter().all(|name| self.map(name).exists())
            && NODE_PROGRAMS.iter().all(|(name, _)| self.link(name).exists())
    }

    /// The pin of a map.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.base.join("maps").join(name)
    }

    /// The pin of a program's link to the node's cgroup.
    #[must_use]
    pub fn link(&self, program: &str) -> PathBuf {
        self.links().join(program)
    }

    /// The directory of links to cgroups of ztunnels.
    #[must_use]
    pub fn ztunnels(&self) -> PathBuf {
        self.base.join("ztunnels")
    }

    /// The pin of a program's link to the cgroup of a ztunnel.
    #[must_use]
    pub fn ztunnel_link(&self, cgroup: u64, program: &str) -> PathBuf {
        self.ztunnels().join(cgroup.to_string()).join(program)
    }

    /// The directory of the links to the node's cgroup.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.base.join("links")
    }

    /// The directory of links at the interfaces of ztunnels.
    #[must_use]
    pub fn places(&self) -> PathBuf {
        self.base.join("places")
    }

    /// The directory of per-pod links.
    #[must_use]
    pub fn pods(&self) -> PathBuf {
        self.base.join("pods")
    }

    /// The directory of the links of the pod with this netns cookie.
    #[must_use]
    pub fn pod(&self, netns: u64) -> PathBuf {
        self.pods().join(netns.to_string())
    }

    /// The pin of a program's link in the pod with this netns cookie.
    #[must_use]
    pub fn pod_link(&self, netns: u64, program: &str) -> PathBuf {
        self.pod(netns).join(program)
    }

    /// The pin of a program's link at an interface of the ztunnel with this netns cookie.
    #[must_use]
    pub fn place_link(&self, netns: u64, program: &str) -> PathBuf {
        self.place(netns).join(program)
    }

    fn place(&self, netns: u64) -> PathBuf {
        self.places().join(netns.to_string())
    }

    /// Waits for the turn to read something from maps and write it back; it ends with what is returned.
    ///
    /// # Errors
    /// [`DatapathError`] if the directory cannot be opened or locked.
    pub fn lock(&self) -> Result<Flock<File>, DatapathError> {
        let directory = File::open(&self.base).map_err(DatapathError::io(&self.base))?;
        let locked = Flock::lock(directory, FlockArg::LockExclusive);
        locked.map_err(|(_, errno)| DatapathError::io(&self.base)(errno.into()))
    }

    /// Makes the directory of a ztunnel's links.
    pub(super) fn create_place_directory(&self, netns: u64) -> Result<(), DatapathError> {
        create_private(&self.place(netns)).map(drop)
    }

    /// Removes the pins of a ztunnel, and with them the links. One without pins is fine.
    pub(super) fn remove_place(&self, netns: u64) -> Result<(), DatapathError> {
        remove_tree(&self.place(netns))
    }

    /// Makes the directories, for root only.
    pub(super) fn create_directories(&self) -> Result<(), DatapathError> {
        for directory in [self.base.join("maps"), self.links(), self.pods()] {
            create_private(&directory)?;
        }
        Ok(())
    }

    /// Makes the directory of the links to a ztunnel's cgroup.
    pub(super) fn create_ztunnel_directory(&self, cgroup: u64) -> Result<(), DatapathError> {
        create_private(&self.ztunnels().join(cgroup.to_string())).map(drop)
    }

    /// Makes the directory of a pod's links; says whether it was not there.
    pub(super) fn create_pod_directory(&self, netns: u64) -> Result<bool, DatapathError> {
        create_private(&self.pod(netns))
    }

    /// Names of the pins in a pod's directory; a pod without pins has none.
    pub(super) fn pod_links(&self, netns: u64) -> Result<Vec<String>, DatapathError> {
        names(&self.pod(netns))
    }

    /// Removes the pins of a pod, and with them the links. A pod without pins is fine.
    pub(super) fn remove_pod(&self, netns: u64) -> Result<(), DatapathError> {
        remove_tree(&self.pod(netns))
    }
}

/// Names of what is in a directory; one that is not there holds nothing.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, DatapathError> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(DatapathError::io(directory)(error)),
        Ok(entries) => Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect()),
    }
}

/// Makes a directory for root only, and those above it; says whether it was not there.
fn create_private(directory: &Path) -> Result<bool, DatapathError> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    let made = match builder.create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            builder.recursive(true).create(directory).map(|()| true)
        }
        made => made.map(|()| true),
    };
    made.map_err(DatapathError::io(directory))
}

/// Removes a directory of pins; one that is not there is fine.
pub(super) fn remove_tree(directory: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(DatapathError::io(directory)(error)),
        _ => Ok(()),
    }
}
