//! Calls on namespaces.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::SysError;

/// `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703 as libc::Ioctl;
/// `_IOR(0xb7, 13, __u64)`.
const NS_GET_ID: libc::Ioctl = 0x8008_b70d_u32 as libc::Ioctl;

/// The number of a network namespace, which no other namespace ever has (kernel 6.18); nothing for those of other kinds.
///
/// # Errors
/// [`SysError`]; `ENOTTY` when the kernel is too old, or it is no namespace.
pub fn netns_id(namespace: BorrowedFd<'_>) -> Result<Option<u64>, SysError> {
    let failed = |call| SysError::last(call, format!("descriptor {}", namespace.as_raw_fd()));
    // SAFETY: this call takes no argument.
    match unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_NSTYPE) } {
        libc::CLONE_NEWNET => {}
        ..0 => return Err(failed("ioctl(NS_GET_NSTYPE)")),
        _ => return Ok(None),
    }
    let mut id = 0_u64;
    // SAFETY: the kernel writes eight bytes to `id`, which takes any bytes.
    match unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_ID, &raw mut id) } {
        0 => Ok(Some(id)),
        _ => Err(failed("ioctl(NS_GET_ID)")),
    }
}
