//! What tests could leave on a machine, and the proof that they do not.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::deadline::{PATIENCE, eventually};
use crate::mountinfo::{TABLE, mounts};
use crate::netlink;
use crate::netns::{self, Netns};
use crate::unique::Owner;
use crate::{cgroup, publish};

/// Why the machine could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory could not be read.
    #[error("cannot look for residue in {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The interfaces could not be listed.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// The current namespace could not be opened.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// The cgroups could not be listed.
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
}

/// A thing outside of any world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// A name under `/run/netns` that carries the owner's prefix.
    NamedNetns(PathBuf),
    /// An interface in the current namespace.
    Link(String),
    /// A cgroup of the owner.
    Cgroup(PathBuf),
    /// A pin in a BPF file system that carries the owner's prefix.
    Pin(PathBuf),
    /// A child of the owner.
    Process(u32),
}

/// What there was at one moment.
#[derive(Clone, Debug)]
pub struct Residue {
    owner: Owner,
    netns: Netns,
    things: BTreeSet<Thing>,
}

/// Things that are left.
#[derive(Debug)]
pub struct Leftovers(pub Vec<Thing>);

impl Residue {
    /// Looks at what this process has outside of its worlds.
    pub fn snapshot() -> Result<Self, Error> {
        Self::snapshot_of(Owner::this())
    }

    /// Looks at what another process has.
    pub fn snapshot_of(owner: Owner) -> Result<Self, Error> {
        let netns = Netns::current()?;
        let things = look(owner, &netns)?;
        Ok(Self { owner, netns, things })
    }

    /// What has come since and is there now.
    pub fn leftovers_now(&self) -> Result<Leftovers, Error> {
        let now = look(self.owner, &self.netns)?;
        Ok(Leftovers(now.difference(&self.things).cloned().collect()))
    }

    /// What has come since, after a while for the kernel to finish tearing down.
    pub fn leftovers(&self) -> Result<Leftovers, Error> {
        let settled = eventually(PATIENCE, || match self.leftovers_now() {
            Ok(Leftovers(left)) if !left.is_empty() => None,
            outcome => Some(outcome),
        });
        settled.unwrap_or_else(|_| self.leftovers_now())
    }

    /// Panics, and says what is left, unless everything that came since is gone again.
    #[expect(clippy::panic, reason = "an assertion for tests")]
    pub fn assert_unchanged(&self) {
        match self.leftovers() {
            Ok(Leftovers(left)) if left.is_empty() => {}
            Ok(left) => panic!("left behind: {left}"),
            Err(error) => panic!("{error}"),
        }
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|thing| format!("{thing:?}")).collect();
        f.write_str(&names.join(", "))
    }
}

fn look(owner: Owner, netns: &Netns) -> Result<BTreeSet<Thing>, Error> {
    let prefix = owner.prefix();
    let links = netns.netlink(async |netlink| netlink.interfaces().await)?;
    let mut things: BTreeSet<_> = links.into_iter().map(|link| Thing::Link(link.name)).collect();
    things.extend(
        entries(Path::new(publish::DIRECTORY))?
            .into_iter()
            .filter(carries(&prefix))
            .map(Thing::NamedNetns),
    );
    for directory in mounts("bpf").map_err(failed(Path::new(TABLE)))? {
        things.extend(
            tree(&directory)?
                .into_iter()
                .filter(carries(&prefix))
                .map(Thing::Pin),
        );
    }
    match cgroup::ours() {
        Ok(ours) => things.extend(
            ours.into_iter()
                .filter(|(_, other)| *other == owner)
                .map(|(path, _)| Thing::Cgroup(path)),
        ),
        Err(cgroup::Error::NotMounted) => {}
        Err(error) => return Err(error.into()),
    }
    things.extend(owner.children().into_iter().map(Thing::Process));
    Ok(things)
}

fn carries(prefix: &str) -> impl Fn(&PathBuf) -> bool {
    move |path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(directory)(error)),
    }
}

fn tree(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut all = Vec::new();
    for path in entries(directory)? {
        if path.is_dir() && !path.is_symlink() {
            all.extend(tree(&path)?);
        }
        all.push(path);
    }
    Ok(all)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}
