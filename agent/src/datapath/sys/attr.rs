//! The argument of `bpf(2)`, as one small struct per command, and the call itself.
//!
//! Each struct is a prefix of the kernel's `union bpf_attr`; the kernel takes the rest as zero. All padding is
//! spelt out, so that no uninitialised byte reaches the kernel.

use std::ffi::CString;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::{io, mem};

use super::SysError;

/// Length of an object's name, with the closing zero.
pub const NAME_LENGTH: usize = 16;

/// A command and the layout of its argument.
///
/// # Safety
/// The type is `repr(C)` without implicit padding, is a prefix of the command's part of `union bpf_attr`, and
/// covers every field that the kernel writes back for the command.
pub unsafe trait Attr {
    /// The command's number.
    const COMMAND: libc::c_int;
    /// The command's name.
    const NAME: &'static str;
}

macro_rules! attrs {
    ($($(#[$meta:meta])* $name:ident = $command:literal $call:literal { $($field:ident: $type:ty),+ $(,)? })+) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Copy, Default)]
            #[repr(C)]
            pub struct $name { $(pub $field: $type),+ }

            const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$type>())+, "implicit padding");

            // SAFETY: repr(C), the sum of the fields is the size, and the fields are those of `union bpf_attr`.
            unsafe impl Attr for $name {
                const COMMAND: libc::c_int = $command;
                const NAME: &'static str = $call;
            }
        )+
    };
}

attrs! {
    MapCreate = 0 "BPF_MAP_CREATE" {
        map_type: u32, key_size: u32, value_size: u32, max_entries: u32, map_flags: u32, inner_map_fd: u32,
        numa_node: u32, map_name: [u8; NAME_LENGTH], map_ifindex: u32, btf_fd: u32, btf_key_type_id: u32,
        btf_value_type_id: u32,
    }
    MapLookup = 1 "BPF_MAP_LOOKUP_ELEM" { map_fd: u32, pad: u32, key: u64, value: u64, flags: u64 }
    MapUpdate = 2 "BPF_MAP_UPDATE_ELEM" { map_fd: u32, pad: u32, key: u64, value: u64, flags: u64 }
    MapDelete = 3 "BPF_MAP_DELETE_ELEM" { map_fd: u32, pad: u32, key: u64, value: u64, flags: u64 }
    MapNextKey = 4 "BPF_MAP_GET_NEXT_KEY" { map_fd: u32, pad: u32, key: u64, next_key: u64, flags: u64 }
    ProgLoad = 5 "BPF_PROG_LOAD" {
        prog_type: u32, insn_cnt: u32, insns: u64, license: u64, log_level: u32, log_size: u32, log_buf: u64,
        kern_version: u32, prog_flags: u32, prog_name: [u8; NAME_LENGTH], prog_ifindex: u32,
        expected_attach_type: u32,
    }
    ObjPin = 6 "BPF_OBJ_PIN" { pathname: u64, bpf_fd: u32, file_flags: u32 }
    ObjGet = 7 "BPF_OBJ_GET" { pathname: u64, bpf_fd: u32, file_flags: u32 }
    ProgAttach = 8 "BPF_PROG_ATTACH" { target: u32, prog_fd: u32, attach_type: u32, attach_flags: u32 }
    ProgTestRun = 10 "BPF_PROG_TEST_RUN" {
        prog_fd: u32, retval: u32, data_size_in: u32, data_size_out: u32, data_in: u64, data_out: u64, repeat: u32,
        duration: u32, ctx_size_in: u32, ctx_size_out: u32, ctx_in: u64, ctx_out: u64, flags: u32, cpu: u32,
        batch_size: u32, pad: u32,
    }
    ProgNextId = 11 "BPF_PROG_GET_NEXT_ID" { start_id: u32, next_id: u32, open_flags: u32 }
    MapNextId = 12 "BPF_MAP_GET_NEXT_ID" { start_id: u32, next_id: u32, open_flags: u32 }
    ProgFdById = 13 "BPF_PROG_GET_FD_BY_ID" { id: u32, next_id: u32, open_flags: u32 }
    MapFdById = 14 "BPF_MAP_GET_FD_BY_ID" { id: u32, next_id: u32, open_flags: u32 }
    ObjInfo = 15 "BPF_OBJ_GET_INFO_BY_FD" { bpf_fd: u32, info_len: u32, info: u64 }
    /// Whole, to the last field: from 6.6 on the kernel writes `revision` whatever size it was told.
    ProgQuery = 16 "BPF_PROG_QUERY" {
        target: u32, attach_type: u32, query_flags: u32, attach_flags: u32, prog_ids: u64, prog_cnt: u32, pad: u32,
        prog_attach_flags: u64, link_ids: u64, link_attach_flags: u64, revision: u64,
    }
    BtfLoad = 18 "BPF_BTF_LOAD" {
        btf: u64, log_buf: u64, btf_size: u32, log_size: u32, log_level: u32, log_true_size: u32,
    }
    LinkCreate = 28 "BPF_LINK_CREATE" { prog_fd: u32, target: u32, attach_type: u32, flags: u32 }
    LinkUpdate = 29 "BPF_LINK_UPDATE" { link_fd: u32, new_prog_fd: u32, flags: u32, old_prog_fd: u32 }
    LinkFdById = 30 "BPF_LINK_GET_FD_BY_ID" { id: u32, next_id: u32, open_flags: u32 }
    LinkNextId = 31 "BPF_LINK_GET_NEXT_ID" { start_id: u32, next_id: u32, open_flags: u32 }
    LinkDetach = 34 "BPF_LINK_DETACH" { link_fd: u32 }
}

/// Calls `bpf(2)`; `object` is what the error will name.
///
/// # Safety
/// Every address in `attr` is null, or valid for what the command reads and writes there until the call returns.
pub unsafe fn bpf<A: Attr>(attr: &mut A, object: impl Fn() -> String) -> Result<libc::c_int, SysError> {
    // A load that a signal interrupts says EAGAIN; more than a few in a row is something else.
    for _ in 0..5 {
        // SAFETY: `attr` is valid for its own size in both directions; the caller vouches for the addresses in it.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                A::COMMAND,
                std::ptr::from_mut(attr),
                mem::size_of::<A>(),
            )
        };
        if let Ok(result) = libc::c_int::try_from(result)
            && result >= 0
        {
            return Ok(result);
        }
        if io::Error::last_os_error().raw_os_error() != Some(libc::EAGAIN) {
            break;
        }
    }
    Err(SysError::last(A::NAME, object()))
}

/// Calls `bpf(2)` with a command that answers with a new descriptor.
///
/// # Safety
/// As for [`bpf`], and the command returns a descriptor.
pub unsafe fn bpf_fd<A: Attr>(attr: &mut A, object: impl Fn() -> String) -> Result<OwnedFd, SysError> {
    // SAFETY: the caller vouches for the addresses.
    let fd = unsafe { bpf(attr, object) }?;
    // SAFETY: the kernel just made it for this call, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor as the kernel wants it in an argument.
pub fn raw(fd: RawFd) -> u32 {
    // An open descriptor is never negative; -1 would be refused with EBADF.
    fd.cast_unsigned()
}

/// The address of a slice, for an argument.
pub fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr().expose_provenance() as u64
}

/// The address of a slice that the kernel writes to.
pub fn address_mut<T>(slice: &mut [T]) -> u64 {
    slice.as_mut_ptr().expose_provenance() as u64
}

/// The length of a slice, which the kernel refuses when it does not fit.
pub fn length<T>(slice: &[T]) -> u32 {
    u32::try_from(slice.len()).unwrap_or(u32::MAX)
}

/// A name as the kernel keeps it: cut to 15 bytes.
pub fn name_bytes(name: &str) -> [u8; NAME_LENGTH] {
    let mut bytes = [0; NAME_LENGTH];
    for (to, from) in bytes[..NAME_LENGTH - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// A path as the kernel wants it.
pub fn c_path(call: &'static str, path: &Path) -> Result<CString, SysError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|source| SysError {
        call,
        object: path.display().to_string(),
        source: source.into(),
    })
}
