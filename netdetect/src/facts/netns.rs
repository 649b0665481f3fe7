//! Network namespaces, and where the other end of an interface is.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};

/// What makes two handles the same network namespace; paths and descriptors do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetnsId {
    /// Inode on the kernel's namespace file system.
    pub inode: u64,
    /// Device number of that file system.
    pub device: u64,
}

impl NetnsId {
    /// Which namespace an open handle is.
    ///
    /// # Errors
    /// The kernel's, for a descriptor that is not open.
    pub fn of(netns: BorrowedFd<'_>) -> io::Result<Self> {
        let status = fstat(netns).map_err(|errno| {
            io::Error::new(
                io::Error::from(errno).kind(),
                format!("descriptor {}: {errno}", netns.as_raw_fd()),
            )
        })?;
        Ok(Self {
            inode: status.st_ino,
            device: status.st_dev,
        })
    }
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

/// The network namespace in which the other end of an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "netns", rename_all = "snake_case")]
pub enum Place {
    /// The same that the interface is in.
    Same,
    /// The node's.
    Host,
    /// Another one that the reader was told of.
    Known {
        /// Which.
        id: NetnsId,
    },
    /// One that the reader was not told of.
    Elsewhere {
        /// The number by which the kernel knows it in the namespace that the interface is in.
        nsid: i32,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("the same namespace"),
            Self::Host => f.write_str("the node"),
            Self::Known { id } => write!(f, "{id}"),
            Self::Elsewhere { nsid } => write!(f, "another namespace (nsid {nsid})"),
        }
    }
}
