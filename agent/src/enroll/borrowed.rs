//! Other processes' sockets, borrowed by a copy of their descriptor.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::path::Path;

use nix::sys::stat::fstat;
use socket2::SockRef;
use weir_common::mark;

use super::socket_table::Socket;
use crate::datapath::sys;
use crate::pods::netns::{ListError, processes, start_time};

const LOOPBACK: &[u8] = b"lo";

/// Who has which socket.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_inode: BTreeMap<u64, Owner>,
    /// The first process that may not be looked at: any socket may be its.
    closed: Option<(u32, io::ErrorKind)>,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    process: u32,
    /// When the process started, in ticks since the machine did.
    started: u64,
    descriptor: RawFd,
}

impl Owners {
    /// Looks for `sockets` among the descriptors of `processes`; those that are gone have none.
    pub(super) fn of(processes: &[u32], sockets: &[Socket]) -> Self {
        let mut owners = Self::default();
        for &process in processes {
            match descriptors(process) {
                Ok(descriptors) => owners.take(process, descriptors, sockets),
                // Where process 0 is said to be ztunnel, it is one that the agent cannot see.
                Err(error) if is_gone(&error) && process != 0 => {}
                Err(error) => _ = owners.closed.get_or_insert((process, error.kind())),
            }
        }
        owners
    }

    /// The same among all processes that can be seen.
    pub(super) fn among_all(sockets: &[Socket]) -> Self {
        match processes() {
            Ok(processes) => Self::of(&processes, sockets),
            Err(ListError { source, .. }) => Self {
                closed: Some((0, source.kind())),
                ..Self::default()
            },
        }
    }

    fn take(&mut self, process: u32, descriptors: Vec<(u64, RawFd)>, sockets: &[Socket]) {
        let wanted = |inode| sockets.iter().any(|socket| socket.inode == inode);
        let found = descriptors.into_iter().filter(|(inode, _)| wanted(*inode));
        let started = started(process);
        let owner = |descriptor| Owner {
            process,
            started,
            descriptor,
        };
        self.by_inode
            .extend(found.map(|(inode, descriptor)| (inode, owner(descriptor))));
    }

    /// Those of these sockets that somebody has, by when that process started: inodes are not given in order.
    pub(super) fn by_age(&self, inodes: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut aged: Vec<(u64, u64)> = inodes
            .filter_map(|inode| Some((self.by_inode.get(&inode)?.started, inode)))
            .collect();
        aged.sort_unstable();
        aged.into_iter().map(|(_, inode)| inode).collect()
    }

    /// A copy of the socket's descriptor, or why there is none; nothing if no process has it.
    pub(super) fn borrow(&self, inode: u64) -> Option<io::Result<OwnedFd>> {
        let Some(owner) = self.by_inode.get(&inode) else {
            let (process, kind) = self.closed?;
            let reason = format!("the descriptors of process {process} cannot be seen: {kind}");
            return Some(Err(io::Error::new(kind, reason)));
        };
        let copy = sys::pidfd_open(owner.process)
            .and_then(|pidfd| sys::pidfd_getfd(pidfd.as_fd(), owner.descriptor));
        match copy {
            // The number of a descriptor, and that of a process, may have been given anew.
            Ok(copy) => is_socket(&copy, inode).then_some(Ok(copy)),
            Err(error) if is_gone(&error.source) => None,
            Err(error) => Some(Err(io::Error::new(error.source.kind(), error.to_string()))),
        }
    }
}

/// Lets the socket have addresses that are not the namespace's; what it accepts from now on inherits that. One flag is
/// for both families.
pub(super) fn make_transparent(socket: &OwnedFd) -> io::Result<()> {
    SockRef::from(socket).set_ip_transparent_v4(true)
}

/// Lets the application listen again on the ports of what the socket accepts from now on, which inherits that.
pub(super) fn allow_address_reuse(socket: &OwnedFd) -> io::Result<()> {
    SockRef::from(socket).set_reuse_address(true)
}

/// Has the socket take and answer connections by loopback alone, or by any interface again. What it accepts from now on
/// inherits that.
pub(super) fn speak_by_loopback(socket: &OwnedFd, alone: bool) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let mark = socket.mark()?;
    if alone {
        // In this order: without the mark its answers would find no route by loopback.
        socket.set_mark(mark::replaced(mark, mark::OUTBOUND))?;
        socket.bind_device(Some(LOOPBACK))
    } else {
        socket.bind_device(None)?;
        socket.set_mark(mark::replaced(mark, mark::ZTUNNEL))
    }
}

fn is_socket(descriptor: &OwnedFd, inode: u64) -> bool {
    fstat(descriptor).is_ok_and(|stat| stat.st_ino == inode)
}

/// A process that is gone has no sockets either, whatever its age.
fn started(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    start_time(&stat).unwrap_or(0)
}

/// The sockets of a process: inode and descriptor.
fn descriptors(process: u32) -> io::Result<Vec<(u64, RawFd)>> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        let entry = entry?;
        match fs::read_link(entry.path()) {
            Ok(target) => sockets.extend(socket(&entry.file_name(), &target)),
            // Descriptors come and go while they are listed.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

/// The process has ended, or has closed the descriptor.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ESRCH | libc::EBADF)
    )
}

/// Inode and descriptor, if it is a socket.
fn socket(name: &OsStr, target: &Path) -> Option<(u64, RawFd)> {
    let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    Some((inode.parse().ok()?, name.to_str()?.parse().ok()?))
}
