//! Calls that aya lacks. The only unsafe code of the user side.
#![expect(unsafe_code, reason = "raw system calls")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;

/// A raw call failed.
#[derive(Debug, thiserror::Error)]
#[error("{call} {object}: {errno}")]
pub struct SysError {
    call: &'static str,
    object: String,
    errno: Errno,
}

impl SysError {
    /// The kernel's answer.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        self.errno
    }

    fn last(call: &'static str, object: impl Into<String>) -> Self {
        Self {
            call,
            object: object.into(),
            errno: Errno::last(),
        }
    }
}

/// Hooks that links are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the kernel's names")]
pub enum AttachType {
    SockOps = 3,
    Inet4Bind = 8,
    Inet6Bind = 9,
    Inet4Connect = 10,
    Inet6Connect = 11,
    Udp4Sendmsg = 14,
    Udp6Sendmsg = 15,
    Udp4Recvmsg = 19,
    Udp6Recvmsg = 20,
    Inet4Getpeername = 29,
    Inet6Getpeername = 30,
    SkLookup = 36,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    rest: [u64; 4],
}
#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}
#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

const OBJ_PIN: i32 = 6;
const OBJ_GET: i32 = 7;
const OBJ_GET_INFO: i32 = 15;
const LINK_CREATE: i32 = 28;
const LINK_UPDATE: i32 = 29;
const LINK_DETACH: i32 = 34;

fn bpf<T>(command: i32, attr: &mut T) -> i64 {
    // SAFETY: the attribute is a live struct of the size that is passed.
    unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) }
}
fn owned(fd: i64) -> OwnedFd {
    // SAFETY: the kernel has just handed out this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}
fn path(p: &Path) -> Result<CString, SysError> {
    CString::new(p.as_os_str().as_bytes()).map_err(|_| SysError {
        call: "path",
        object: p.display().to_string(),
        errno: Errno::EINVAL,
    })
}
/// link
pub fn link_create(
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attach_type: AttachType,
) -> Result<OwnedFd, SysError> {
    let mut attr = LinkCreate {
        program: program.as_raw_fd() as u32,
        target: target.as_raw_fd() as u32,
        attach_type: attach_type as u32,
        flags: 0,
        rest: [0; 4],
    };
    match bpf(LINK_CREATE, &mut attr) {
        fd if fd >= 0 => Ok(owned(fd)),
        _ => Err(SysError::last("BPF_LINK_CREATE", format!("{attach_type:?}"))),
    }
}
/// update
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), SysError> {
    let mut attr = LinkUpdate {
        link: link.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        flags: 0,
        old_program: 0,
    };
    if bpf(LINK_UPDATE, &mut attr) == 0 {
        Ok(())
    } else {
        Err(SysError::last("BPF_LINK_UPDATE", ""))
    }
}
/// Detaches the program at once; the link stays, without effect. One that was detached before is fine.
pub fn link_detach(link: BorrowedFd<'_>) -> Result<(), SysError> {
    let mut attr = link.as_raw_fd() as u32;
    match bpf(LINK_DETACH, &mut attr) {
        0 => Ok(()),
        _ => match SysError::last("BPF_LINK_DETACH", "") {
            error if error.errno() == Errno::ENOLINK => Ok(()),
            error => Err(error),
        },
    }
}
/// pin
pub fn obj_pin(fd: BorrowedFd<'_>, at: &Path) -> Result<(), SysError> {
    let c = path(at)?;
    let mut attr = Object {
        path: c.as_ptr() as u64,
        fd: fd.as_raw_fd() as u32,
        flags: 0,
    };
    if bpf(OBJ_PIN, &mut attr) == 0 {
        Ok(())
    } else {
        Err(SysError::last("BPF_OBJ_PIN", at.display().to_string()))
    }
}
/// get
pub fn obj_get(at: &Path) -> Result<OwnedFd, SysError> {
    let c = path(at)?;
    let mut attr = Object {
        path: c.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    match bpf(OBJ_GET, &mut attr) {
        fd if fd >= 0 => Ok(owned(fd)),
        _ => Err(SysError::last("BPF_OBJ_GET", at.display().to_string())),
    }
}
/// info
pub fn link_netns_inode(link: BorrowedFd<'_>) -> Result<u32, SysError> {
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        prog: u32,
        pad: u32,
        netns: u32,
        attach: u32,
        rest: [u64; 20],
    }
    #[repr(C)]
    struct Attr {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut info = Info::default();
    let mut attr = Attr {
        fd: link.as_raw_fd() as u32,
        len: size_of::<Info>() as u32,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    if bpf(OBJ_GET_INFO, &mut attr) == 0 {
        Ok(info.netns)
    } else {
        Err(SysError::last("BPF_OBJ_GET_INFO_BY_FD", ""))
    }
}
/// cookie
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len = 8u32;
    // SAFETY: the kernel writes eight bytes into a live integer.
    let r = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            71,
            std::ptr::from_mut(&mut cookie).cast(),
            &mut len,
        )
    };
    if r == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}
