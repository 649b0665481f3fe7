//! What can go wrong with kernel objects.

use std::io;
use std::path::PathBuf;

use aya::maps::MapError;

use super::refusal::Refusal;
use super::sys::SysError;
use crate::inside::InsideError;

/// An operation on a kernel object failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// A file or directory of the pins, or a cgroup, is not usable.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The BPF filesystem is missing and cannot be mounted.
    #[error("cannot mount a BPF filesystem for {}: {source}; mount one there (`mount -t bpf bpf /sys/fs/bpf`) or give the agent CAP_SYS_ADMIN", path.display())]
    Mount {
        /// Where it is needed.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The object or one of its maps was refused.
    #[error("loading eBPF object: {0}; `weir check` tells which feature of the kernel or right is missing")]
    Load(#[from] aya::EbpfError),
    /// A program is not in the object, or of another type: the build is broken.
    #[error("the embedded object has no program {0}")]
    NoProgram(&'static str),
    /// An object for a pod's own programs cannot be made the pod's: the build is broken.
    #[error("the embedded object has no place for a netns cookie")]
    NoPlaceForCookie,
    /// The kernel refused a program.
    #[error("program {program}: {why}; `weir check` tells which feature of the kernel or right is missing")]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        why: Refusal,
    },
    /// A map was refused or an entry could not be written.
    #[error("map {map}: {source}")]
    Map {
        /// Which.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// The same of a map that is read and written as bytes.
    #[error("map {map}: {source}")]
    Bytes {
        /// Which.
        map: &'static str,
        /// Why.
        source: super::sys::MapError,
    },
    /// A program could not be attached to an interface or detached from it.
    #[error("program {program} at interface {interface}: {source}")]
    Interface {
        /// Which program.
        program: &'static str,
        /// Which interface.
        interface: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The pod's netns cannot be entered.
    #[error(transparent)]
    Netns(#[from] InsideError),
    /// A map has no room for another entry.
    #[error(
        "map {map} is full: raise {flag}; a map that exists keeps its size until it is removed (`weir cleanup`)"
    )]
    MapFull {
        /// Which.
        map: &'static str,
        /// The agent's flag that sets its size.
        flag: &'static str,
    },
    /// A map that is pinned is not the one that the programs need.
    #[error(
        "{}: map {map} has {differs}: another build of weir made it, and this one cannot take it over. Nothing was changed. Go back to that build, or drain the node and run `weir cleanup` (docs/install.md, \"Upgrade\")", path.display()
    )]
    Shape {
        /// Which.
        map: &'static str,
        /// Its pin.
        path: PathBuf,
        /// What it has instead of what.
        differs: String,
    },
    /// An agent of another layout redirects pods to a ztunnel outside of them.
    #[error(
        "{}: pods are redirected to a ztunnel in a namespace of its own by the programs of layout {layout}, which cannot be taken over while their connections go on. Nothing was changed. Go back to the version of weir that made them, or drain the node and run `weir cleanup` (docs/install.md, \"Upgrade\")", path.display()
    )]
    RedirectedElsewhere {
        /// The other layout.
        layout: u32,
        /// Its directory.
        path: PathBuf,
    },
    /// A raw call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
}

impl DatapathError {
    /// Wraps an I/O error with the path it is about.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }
}
