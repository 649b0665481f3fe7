//! Network namespaces of pods: what identifies one, opening one by path, finding one by a pod's processes.

mod cookies;
mod find;
mod process;
#[cfg(test)]
mod tests;
mod walks;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{FsType, fstatfs};

pub(crate) use cookies::processes;
pub use cookies::{ListError, find_by_cookies, open_host};
pub use find::{FindError, ProcIndex, find_by_proc};
pub(crate) use process::start_time;
pub use walks::Walks;

/// The network namespace of the node's first process, which is the node's own.
pub const HOST_NETNS: &str = "/proc/1/ns/net";

/// What makes two handles the same network namespace; paths and file descriptors do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsId {
    /// Inode on the kernel's namespace file system.
    pub inode: u64,
    /// Device number of that file system.
    pub device: u64,
}

impl NetnsId {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self {
            inode: metadata.ino(),
            device: metadata.dev(),
        })
    }

    /// The node's own network namespace, by the path of one of its handles: normally [`HOST_NETNS`], and an agent
    /// that itself runs on the node's network may give `/proc/self/ns/net`, which needs no capability.
    pub fn of_host(path: &Path) -> Result<Self, NetnsError> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Self {
                inode: metadata.ino(),
                device: metadata.dev(),
            }),
            Err(source) => Err(NetnsError::NoHost {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

/// An open network namespace that is not the node's own. It lives at least as long as this handle.
#[derive(Debug)]
pub struct Netns {
    handle: OwnedFd,
    id: NetnsId,
}

impl Netns {
    /// Opens the namespace at `path` (`/run/netns/…`, `/proc/<pid>/ns/net`), unless it is `host`, the node's own.
    pub fn open(path: &Path, host: NetnsId) -> Result<Self, NetnsError> {
        // Non-blocking, because a wrong path may lead to a pipe that nobody writes.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|source| NetnsError::from_open(path, source))?;
        Self::adopt(path, file.into(), host)
    }

    /// Takes a handle that came from elsewhere, unless it is `host`; `path` is what errors call it.
    pub fn adopt(path: &Path, handle: OwnedFd, host: NetnsId) -> Result<Self, NetnsError> {
        let netns = Self::adopt_unentered(path, handle, host)?;
        check_enterable(path, &netns.handle)?;
        Ok(netns)
    }

    /// The same for those who enter it themselves: only then is it known to be a network namespace.
    pub fn adopt_unentered(path: &Path, handle: OwnedFd, host: NetnsId) -> Result<Self, NetnsError> {
        let file = File::from(handle);
        let on_path = |source| NetnsError::Open {
            path: path.to_owned(),
            source,
        };
        let file_system = fstatfs(&file)
            .map_err(|errno| on_path(errno.into()))?
            .filesystem_type();
        // The types of the constant and of the field differ between C libraries.
        if file_system != FsType(libc::NSFS_MAGIC as _) {
            return Err(NetnsError::NotANamespace {
                path: path.to_owned(),
            });
        }
        let id = NetnsId::of(&file).map_err(on_path)?;
        if id == host {
            return Err(NetnsError::IsHost {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            handle: file.into(),
            id,
        })
    }

    /// Which namespace it is.
    #[must_use]
    pub const fn id(&self) -> NetnsId {
        self.id
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl From<Netns> for OwnedFd {
    fn from(netns: Netns) -> Self {
        netns.handle
    }
}

/// Namespaces of every kind look alike on their file system. The question which kind this is (`NS_GET_NSTYPE`) takes
/// an ioctl; entering it, which is what it is for, asks the same. The thread ends right after, inside.
fn check_enterable(path: &Path, namespace: &OwnedFd) -> Result<(), NetnsError> {
    let enter = || setns(namespace, CloneFlags::CLONE_NEWNET);
    let entered = thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns-check".to_owned())
            .spawn_scoped(scope, enter)?;
        // The closure cannot panic.
        io::Result::Ok(thread.join().unwrap_or(Err(Errno::EINVAL)))
    });
    let path = path.to_owned();
    match entered {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Errno::EINVAL)) => Err(NetnsError::OtherNamespace { path }),
        Ok(Err(errno)) => Err(NetnsError::Enter {
            path,
            source: errno.into(),
        }),
        Err(source) => Err(NetnsError::Enter { path, source }),
    }
}

/// Why a path does not lead to a pod's network namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Nothing is there.
    #[error(
        "network namespace {path} does not exist: the pod is gone, or the directory is not mounted into the agent"
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It cannot be opened.
    #[error(
        "network namespace {path} cannot be opened: {source}; the agent needs DAC_OVERRIDE, and SYS_PTRACE for paths in /proc"
    )]
    Open {
        /// Where it is.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is only the file that a namespace was, or should be, mounted on.
    #[error(
        "{path} is not a network namespace: the pod is gone, or its mount does not reach the agent; \
         mount the directory with mountPropagation HostToContainer"
    )]
    NotANamespace {
        /// The file.
        path: PathBuf,
    },
    /// It is a namespace, but of processes, mounts, or the like.
    #[error("{path} is a namespace of another kind: give the path of a network namespace")]
    OtherNamespace {
        /// The file.
        path: PathBuf,
    },
    /// It is the node's.
    #[error(
        "{path} is the node's own network namespace and will not be touched: is the pod a hostNetwork pod?"
    )]
    IsHost {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be entered.
    #[error("network namespace {path} cannot be entered: {source}; the agent needs SYS_ADMIN")]
    Enter {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The node's own namespace cannot be told from others.
    #[error(
        "the node's network namespace {path} cannot be read: {source}; mount the node's /proc, and grant SYS_PTRACE"
    )]
    NoHost {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl NetnsError {
    fn from_open(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Open { path, source },
        }
    }
}
