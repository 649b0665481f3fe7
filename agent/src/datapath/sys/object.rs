//! What programs, maps and links have in common: pins and ids.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use super::SysError;
use super::attr::{self, Attr, address, bpf, bpf_fd, raw};

/// Pins an object at a path on a bpffs; the path must not exist.
///
/// # Errors
/// [`SysError`] that names the path.
pub fn obj_pin(object: BorrowedFd<'_>, path: &Path) -> Result<(), SysError> {
    let pathname = attr::c_path(attr::ObjPin::NAME, path)?;
    let mut attr = attr::ObjPin {
        pathname: address(pathname.as_bytes_with_nul()),
        bpf_fd: raw(object.as_raw_fd()),
        file_flags: 0,
    };
    // SAFETY: the path outlives the call and ends with a zero.
    unsafe { bpf(&mut attr, || path.display().to_string()) }.map(drop)
}

/// Opens a pinned object.
///
/// # Errors
/// [`SysError`] that names the path; [`SysError::is_absent`] when there is no such pin.
pub fn obj_get(path: &Path) -> Result<OwnedFd, SysError> {
    let pathname = attr::c_path(attr::ObjGet::NAME, path)?;
    let mut attr = attr::ObjGet {
        pathname: address(pathname.as_bytes_with_nul()),
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: the path outlives the call and ends with a zero.
    unsafe { bpf_fd(&mut attr, || path.display().to_string()) }
}

/// Kinds of objects that the kernel numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    /// Programs.
    Programs,
    /// Maps.
    Maps,
    /// Links.
    Links,
}

/// Every object of a kind with its id, opened; those that vanish meanwhile are left out.
pub fn objects(kind: Objects) -> impl Iterator<Item = Result<(u32, OwnedFd), SysError>> {
    let mut last = Some(0);
    std::iter::from_fn(move || {
        loop {
            let id = match next_id(kind, last?) {
                Ok(id) => id,
                Err(error) => {
                    last = None;
                    return (!error.is_absent()).then_some(Err(error));
                }
            };
            last = Some(id);
            match fd_by_id(kind, id) {
                Ok(fd) => return Some(Ok((id, fd))),
                Err(error) if error.is_absent() => {}
                Err(error) => return Some(Err(error)),
            }
        }
    })
}

/// Opens an object by its id; needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// [`SysError`]; [`SysError::is_absent`] when there is no such object.
pub fn fd_by_id(kind: Objects, id: u32) -> Result<OwnedFd, SysError> {
    macro_rules! open {
        ($attr:ident) => {
            // SAFETY: the argument holds no address.
            unsafe {
                bpf_fd(
                    &mut attr::$attr {
                        id,
                        ..Default::default()
                    },
                    || format!("id {id}"),
                )
            }
        };
    }
    match kind {
        Objects::Programs => open!(ProgFdById),
        Objects::Maps => open!(MapFdById),
        Objects::Links => open!(LinkFdById),
    }
}

fn next_id(kind: Objects, start_id: u32) -> Result<u32, SysError> {
    macro_rules! next {
        ($attr:ident) => {{
            let mut attr = attr::$attr {
                start_id,
                ..Default::default()
            };
            // SAFETY: the argument holds no address.
            unsafe { bpf(&mut attr, || format!("the id after {start_id}")) }.map(|_| attr.next_id)
        }};
    }
    match kind {
        Objects::Programs => next!(ProgNextId),
        Objects::Maps => next!(MapNextId),
        Objects::Links => next!(LinkNextId),
    }
}
