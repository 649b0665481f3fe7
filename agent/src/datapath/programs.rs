//! Loads the node's programs and links each to the cgroup, once.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use aya::Ebpf;
use aya::programs::{Program, ProgramError};

use super::sys::AttachType;
use super::{DatapathError, Pins, links};

/// The node's programs and their hooks, in the order they are attached: what notes listeners and makes room for
/// captured connections comes before what captures.
pub(super) const NODE_PROGRAMS: [(&str, AttachType); 11] = [
    ("weir_track", AttachType::SockOps),
    ("weir_bind4", AttachType::Inet4Bind),
    ("weir_bind6", AttachType::Inet6Bind),
    ("weir_recvmsg4", AttachType::Udp4Recvmsg),
    ("weir_recvmsg6", AttachType::Udp6Recvmsg),
    ("weir_peername4", AttachType::Inet4Getpeername),
    ("weir_peername6", AttachType::Inet6Getpeername),
    ("weir_sendmsg4", AttachType::Udp4Sendmsg),
    ("weir_sendmsg6", AttachType::Udp6Sendmsg),
    ("weir_connect4", AttachType::Inet4Connect),
    ("weir_connect6", AttachType::Inet6Connect),
];

/// Loads every program of `object` and links it to `cgroup`; a link of an earlier run gets the new program in place.
pub(super) fn attach(mut object: Ebpf, pins: &Pins, cgroup: &Path) -> Result<(), DatapathError> {
    let cgroup = File::open(cgroup).map_err(DatapathError::io(cgroup))?;
    for (name, attach_type) in NODE_PROGRAMS {
        let program = object.program_mut(name).ok_or(DatapathError::NoProgram(name))?;
        let fd = load(name, program)?;
        links::upsert(&pins.link(name), fd, cgroup.as_fd(), attach_type)?;
    }
    Ok(())
}

/// Loads one program, whatever its type.
pub(super) fn load<'a>(
    name: &'static str,
    program: &'a mut Program,
) -> Result<BorrowedFd<'a>, DatapathError> {
    let loaded: Result<&_, ProgramError> = match program {
        Program::CgroupSockAddr(program) => program.load().and_then(|()| program.fd()),
        Program::SockOps(program) => program.load().and_then(|()| program.fd()),
        Program::SkLookup(program) => program.load().and_then(|()| program.fd()),
        Program::SchedClassifier(program) => program.load().and_then(|()| program.fd()),
        _ => return Err(DatapathError::NoProgram(name)),
    };
    loaded
        .map(|fd| fd.as_fd())
        .map_err(|source| DatapathError::Program {
            program: name,
            source,
        })
}
