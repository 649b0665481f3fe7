//! Links: a program held at a hook by a descriptor or a pin.

use std::fmt;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::attr::{self, bpf, bpf_fd, raw};
use super::{AttachType, SysError};

/// `BPF_F_ALLOW_MULTI`, for [`prog_attach`] to a cgroup; links always allow others.
pub const ALLOW_MULTI: u32 = 1 << 1;
/// `BPF_F_BEFORE`: before all programs that are there (TCX; cgroups from 6.16).
pub const BEFORE: u32 = 1 << 3;
/// `BPF_F_AFTER`: after all programs that are there.
pub const AFTER: u32 = 1 << 4;
/// `BPF_F_PREORDER`: before the programs of descendant cgroups (6.15).
pub const PREORDER: u32 = 1 << 6;

/// What a program is attached to.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A cgroup, a network namespace or a map.
    Fd(BorrowedFd<'a>),
    /// An interface of the calling thread's network namespace.
    Interface(u32),
}

impl Target<'_> {
    pub(super) fn raw(self) -> u32 {
        match self {
            Self::Fd(fd) => raw(fd.as_raw_fd()),
            Self::Interface(index) => index,
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fd(fd) => write!(f, "descriptor {}", fd.as_raw_fd()),
            Self::Interface(index) => write!(f, "interface {index}"),
        }
    }
}

/// Attaches a program; it stays as long as the descriptor or a pin of it.
///
/// # Errors
/// [`SysError`]; `EPERM` at a cgroup also means that somebody's program there does not allow others.
pub fn link_create(
    program: BorrowedFd<'_>,
    target: Target<'_>,
    attach: AttachType,
    flags: u32,
) -> Result<OwnedFd, SysError> {
    let mut attr = attr::LinkCreate {
        prog_fd: raw(program.as_raw_fd()),
        target: target.raw(),
        attach_type: attach.0,
        flags,
    };
    // SAFETY: the argument holds no address.
    unsafe { bpf_fd(&mut attr, || format!("{attach} at {target}")) }
}

/// Swaps the link's program in one step, so that no packet or call misses both; with `old` only if that is the one.
///
/// # Errors
/// [`SysError`]; [`SysError::is_gone`] when the target is no more.
pub fn link_update(
    link: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
) -> Result<(), SysError> {
    const REPLACE: u32 = 1 << 2;
    let mut attr = attr::LinkUpdate {
        link_fd: raw(link.as_raw_fd()),
        new_prog_fd: raw(new.as_raw_fd()),
        flags: if old.is_some() { REPLACE } else { 0 },
        old_prog_fd: old.map_or(0, |old| raw(old.as_raw_fd())),
    };
    // SAFETY: the argument holds no address.
    unsafe { bpf(&mut attr, || format!("link, descriptor {}", link.as_raw_fd())) }.map(drop)
}

/// Detaches the program although the link is held elsewhere too; the link stays, without effect.
///
/// # Errors
/// [`SysError`]; it is not an error if the link was detached before.
pub fn link_detach(link: BorrowedFd<'_>) -> Result<(), SysError> {
    let mut attr = attr::LinkDetach {
        link_fd: raw(link.as_raw_fd()),
    };
    // SAFETY: the argument holds no address.
    match unsafe { bpf(&mut attr, || format!("link, descriptor {}", link.as_raw_fd())) } {
        Err(error) if !error.is_gone() => Err(error),
        _ => Ok(()),
    }
}

/// Attaches a program without a link, as programs of others often are.
///
/// # Errors
/// [`SysError`].
pub fn prog_attach(
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attach: AttachType,
    flags: u32,
) -> Result<(), SysError> {
    let mut attr = attr::ProgAttach {
        target: raw(target.as_raw_fd()),
        prog_fd: raw(program.as_raw_fd()),
        attach_type: attach.0,
        attach_flags: flags,
    };
    // SAFETY: the argument holds no address.
    unsafe {
        bpf(&mut attr, || {
            format!("{attach} at descriptor {}", target.as_raw_fd())
        })
    }
    .map(drop)
}
