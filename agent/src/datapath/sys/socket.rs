//! Calls on sockets and on other processes' descriptors.

use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use super::SysError;

/// The cookie of the network namespace that a socket belongs to, as the socket hooks see it (kernel 5.14).
///
/// # Errors
/// [`SysError`]; `ENOPROTOOPT` when the kernel is too old.
pub fn netns_cookie(socket: BorrowedFd<'_>) -> Result<u64, SysError> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(mem::size_of::<u64>()).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which has that size and takes any bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        return Ok(cookie);
    }
    Err(SysError::last(
        "getsockopt(SO_NETNS_COOKIE)",
        format!("socket, descriptor {}", socket.as_raw_fd()),
    ))
}

/// A descriptor that stands for a process.
///
/// # Errors
/// [`SysError`]; `ESRCH` when there is no such process.
pub fn pidfd_open(pid: u32) -> Result<OwnedFd, SysError> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(fd, "pidfd_open", || format!("process {pid}"))
}

/// A copy of another process's descriptor; needs `CAP_SYS_PTRACE` for processes of others (kernel 5.6).
///
/// # Errors
/// [`SysError`]; `EBADF` when the process has no such descriptor.
pub fn pidfd_getfd(process: BorrowedFd<'_>, fd: RawFd) -> Result<OwnedFd, SysError> {
    // SAFETY: plain numbers.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) };
    owned(copy, "pidfd_getfd", || {
        format!("descriptor {fd} of another process")
    })
}

fn owned(fd: libc::c_long, call: &'static str, object: impl Fn() -> String) -> Result<OwnedFd, SysError> {
    match RawFd::try_from(fd) {
        // SAFETY: the kernel just made it for this call, so nobody else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(SysError::last(call, object())),
    }
}
