//! Pinned links: made once, given new programs in place, so that no packet ever sees a gap.

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use super::DatapathError;
use super::sys::{self, AttachType, SysError, Target};

/// Where a link goes in the order of programs at its hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Where the kernel puts it.
    Any,
    /// Before everybody else's, where the kernel can do that (interfaces; cgroups from 6.15).
    First,
}

/// Makes the link that is pinned at `path` run `program` on `target`: updates it, or makes it anew if it is gone or
/// was never there.
pub(super) fn upsert(
    path: &Path,
    program: BorrowedFd<'_>,
    target: Target<'_>,
    attach: AttachType,
    order: Order,
) -> Result<(), DatapathError> {
    if let Some(link) = open(path)? {
        match sys::link_update(link.as_fd(), program, None) {
            Ok(()) => return Ok(()),
            // The cgroup or namespace that it was attached to is gone; the pin is a shell.
            Err(error) if error.is_gone() => fs::remove_file(path).map_err(DatapathError::io(path))?,
            Err(error) => return Err(error.into()),
        }
    }
    make(path, program, target, attach, order)
}

/// The same where nothing is pinned at `path`.
pub(super) fn make(
    path: &Path,
    program: BorrowedFd<'_>,
    target: Target<'_>,
    attach: AttachType,
    order: Order,
) -> Result<(), DatapathError> {
    let link = create(program, target, attach, order)?;
    Ok(sys::obj_pin(link.as_fd(), path)?)
}

/// Detaches the link that is pinned at `path` and removes the pin. Removal alone would detach it too, but later.
pub(super) fn remove(path: &Path) -> Result<(), DatapathError> {
    if let Some(link) = open(path)? {
        sys::link_detach(link.as_fd())?;
        fs::remove_file(path).map_err(DatapathError::io(path))?;
    }
    Ok(())
}

/// The pinned link, if there is one.
pub(super) fn open(path: &Path) -> Result<Option<OwnedFd>, DatapathError> {
    match sys::obj_get(path) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn create(
    program: BorrowedFd<'_>,
    target: Target<'_>,
    attach: AttachType,
    order: Order,
) -> Result<OwnedFd, SysError> {
    if order == Order::First && matches!(target, Target::Interface(_)) {
        return sys::link_create(program, target, attach, sys::BEFORE);
    }
    if order == Order::First {
        match sys::link_create(program, target, attach, sys::PREORDER) {
            // The kernel does not know the flag.
            Err(error) if error.errno() == Some(libc::EINVAL) => {}
            other => return other,
        }
    }
    sys::link_create(program, target, attach, 0)
}
