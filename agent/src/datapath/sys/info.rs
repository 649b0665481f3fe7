//! What the kernel tells about a program, map or link.

use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use super::attr::{self, NAME_LENGTH, bpf, raw};
use super::{AttachType, MapType, ProgramType, SysError};

/// Facts about a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramInfo {
    /// The kernel's number for it.
    pub id: u32,
    /// Its type.
    pub kind: ProgramType,
    /// Its name, cut to 15 bytes.
    pub name: String,
    /// A hash of its instructions.
    pub tag: [u8; 8],
}

/// How often a program ran, and how long; counted only while the sysctl `kernel.bpf_stats_enabled` is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramRuns {
    /// How often.
    pub count: u64,
    /// All runs together.
    pub time: Duration,
}

/// Facts about a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapInfo {
    /// The kernel's number for it.
    pub id: u32,
    /// Its type.
    pub kind: MapType,
    /// Its name, cut to 15 bytes.
    pub name: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value on one CPU.
    pub value_size: u32,
    /// How many it can hold.
    pub max_entries: u32,
    /// What it was made with (`BPF_F_…`).
    pub flags: u32,
}

/// Facts about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The kernel's number for it.
    pub id: u32,
    /// The program that it holds.
    pub program_id: u32,
    /// Where it is attached.
    pub target: LinkTarget,
}

/// Where a link is attached; an id of zero means that the target is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkTarget {
    /// A cgroup, by the id that is the inode number of its directory.
    Cgroup {
        /// The cgroup.
        id: u64,
        /// The hook.
        attach: AttachType,
    },
    /// A network namespace, by its inode number.
    Netns {
        /// The namespace.
        inode: u32,
        /// The hook.
        attach: AttachType,
    },
    /// An interface.
    Tcx {
        /// The interface, in its own namespace.
        interface: u32,
        /// Ingress or egress.
        attach: AttachType,
    },
    /// A kind that Weir does not use, by the kernel's number.
    Other(u32),
}

/// An answer of the kernel that is plain numbers.
///
/// # Safety
/// The type is `repr(C)`, every pattern of bytes is a valid value of it, and all zero asks for no further buffers.
unsafe trait Answer: Default {}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct ProgramAnswer {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_length: u32,
    xlated_length: u32,
    jited: u64,
    xlated: u64,
    load_time: u64,
    created_by: u32,
    map_count: u32,
    map_ids: u64,
    name: [u8; NAME_LENGTH],
    interface: u32,
    gpl_compatible: u32,
    netns: [u64; 2],
    symbol_counts: [u32; 2],
    symbols: [u64; 2],
    btf: u32,
    function_size: u32,
    functions: u64,
    function_count: u32,
    line_count: u32,
    lines: [u64; 2],
    line_sizes: [u32; 3],
    tag_count: u32,
    tags: u64,
    run_time: u64,
    run_count: u64,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct MapAnswer {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    name: [u8; NAME_LENGTH],
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct LinkAnswer {
    kind: u32,
    id: u32,
    program_id: u32,
    pad: u32,
    target: [u32; 4],
}

// SAFETY: numbers and arrays of numbers; the addresses in it are zero.
unsafe impl Answer for ProgramAnswer {}
// SAFETY: numbers and arrays of numbers.
unsafe impl Answer for MapAnswer {}
// SAFETY: numbers and arrays of numbers; zero lengths ask for no names.
unsafe impl Answer for LinkAnswer {}

/// Facts about the program behind a descriptor.
///
/// # Errors
/// [`SysError`].
pub fn program_info(program: BorrowedFd<'_>) -> Result<ProgramInfo, SysError> {
    let answer: ProgramAnswer = ask(program, "program")?;
    Ok(ProgramInfo {
        id: answer.id,
        kind: ProgramType(answer.kind),
        name: name(&answer.name),
        tag: answer.tag,
    })
}

/// How often the program behind a descriptor ran.
///
/// # Errors
/// [`SysError`].
pub fn program_runs(program: BorrowedFd<'_>) -> Result<ProgramRuns, SysError> {
    let answer: ProgramAnswer = ask(program, "program")?;
    Ok(ProgramRuns {
        count: answer.run_count,
        time: Duration::from_nanos(answer.run_time),
    })
}

/// Facts about the map behind a descriptor.
///
/// # Errors
/// [`SysError`].
pub fn map_info(map: BorrowedFd<'_>) -> Result<MapInfo, SysError> {
    let answer: MapAnswer = ask(map, "map")?;
    Ok(MapInfo {
        id: answer.id,
        kind: MapType(answer.kind),
        name: name(&answer.name),
        key_size: answer.key_size,
        value_size: answer.value_size,
        max_entries: answer.max_entries,
        flags: answer.flags,
    })
}

/// Facts about the link behind a descriptor.
///
/// # Errors
/// [`SysError`].
pub fn link_info(link: BorrowedFd<'_>) -> Result<LinkInfo, SysError> {
    let answer: LinkAnswer = ask(link, "link")?;
    Ok(LinkInfo {
        id: answer.id,
        program_id: answer.program_id,
        target: link_target(answer.kind, answer.target),
    })
}

fn link_target(kind: u32, target: [u32; 4]) -> LinkTarget {
    const CGROUP: u32 = 3;
    const NETNS: u32 = 5;
    const TCX: u32 = 11;
    let [first, second, third, _] = target;
    match kind {
        CGROUP => LinkTarget::Cgroup {
            id: join(first, second),
            attach: AttachType(third),
        },
        NETNS => LinkTarget::Netns {
            inode: first,
            attach: AttachType(second),
        },
        TCX => LinkTarget::Tcx {
            interface: first,
            attach: AttachType(second),
        },
        other => LinkTarget::Other(other),
    }
}

/// A 64-bit number from its halves as they lie in memory.
fn join(first: u32, second: u32) -> u64 {
    let (low, high) = if cfg!(target_endian = "little") {
        (first, second)
    } else {
        (second, first)
    };
    u64::from(high) << 32 | u64::from(low)
}

fn ask<A: Answer>(fd: BorrowedFd<'_>, what: &str) -> Result<A, SysError> {
    let mut answer = A::default();
    let mut attr = attr::ObjInfo {
        bpf_fd: raw(fd.as_raw_fd()),
        // The kernel cuts its answer to this.
        info_len: u32::try_from(mem::size_of::<A>()).unwrap_or(0),
        info: std::ptr::from_mut(&mut answer).expose_provenance() as u64,
    };
    // SAFETY: `answer` outlives the call, has the announced size, and takes any bytes.
    unsafe { bpf(&mut attr, || format!("{what}, descriptor {}", fd.as_raw_fd())) }?;
    Ok(answer)
}

fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
