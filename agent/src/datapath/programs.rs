//! Loads the node's programs and links each to the cgroup, once.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aya::Ebpf;
use aya::programs::{Program, ProgramError};

use super::links::Order;
use super::sys::{self, AttachType, LinkTarget, Target};
use super::{DatapathError, Pins, links};

/// The node's programs and their hooks, in the order they are attached: what notes listeners and makes room for
/// captured connections comes before what captures.
pub(super) const NODE_PROGRAMS: [(&str, AttachType); 13] = [
    ("weir_track", AttachType::SOCK_OPS),
    ("weir_bind4", AttachType::BIND4),
    ("weir_bind6", AttachType::BIND6),
    ("weir_recvmsg4", AttachType::RECVMSG4),
    ("weir_recvmsg6", AttachType::RECVMSG6),
    ("weir_peername4", AttachType::GETPEERNAME4),
    ("weir_peername6", AttachType::GETPEERNAME6),
    ("weir_sendmsg4", AttachType::SENDMSG4),
    ("weir_sendmsg6", AttachType::SENDMSG6),
    ("weir_connect4", AttachType::CONNECT4),
    ("weir_connect6", AttachType::CONNECT6),
    // Where the kernel knows no order but that of attaching, they must see what connect has just noted, not what it
    // noted for an earlier connection of the socket.
    ("weir_settle4", AttachType::CONNECT4),
    ("weir_settle6", AttachType::CONNECT6),
];

/// Loads every program of `object` and links it to `cgroup`; a link of an earlier run gets the new program in place.
pub(super) fn attach(mut object: Ebpf, pins: &Pins, cgroup: &Path) -> Result<(), DatapathError> {
    let cgroup = File::open(cgroup).map_err(DatapathError::io(cgroup))?;
    for (name, attach) in NODE_PROGRAMS {
        let program = object.program_mut(name).ok_or(DatapathError::NoProgram(name))?;
        let fd = load(name, program)?;
        links::upsert(
            &pins.link(name),
            fd,
            Target::Fd(cgroup.as_fd()),
            attach,
            order(name),
        )?;
    }
    Ok(())
}

/// The programs whose links are gone, or attached to another cgroup than this one.
pub(super) fn unattached(pins: &Pins, cgroup: &Path) -> Result<Vec<&'static str>, DatapathError> {
    let id = fs::metadata(cgroup).map_err(DatapathError::io(cgroup))?.ino();
    unless(pins, |attach| Some(LinkTarget::Cgroup { id, attach }))
}

/// The programs whose links are gone.
pub(super) fn missing(pins: &Pins) -> Result<Vec<&'static str>, DatapathError> {
    unless(pins, |_| None)
}

/// The programs that have no link, or not one to the target that is wanted.
fn unless(
    pins: &Pins,
    wanted: impl Fn(AttachType) -> Option<LinkTarget>,
) -> Result<Vec<&'static str>, DatapathError> {
    let mut missing = Vec::new();
    for (name, attach) in NODE_PROGRAMS {
        let is_right = match links::open(&pins.link(name))? {
            Some(link) => {
                let target = sys::link_info(link.as_fd())?.target;
                wanted(attach).is_none_or(|wanted| wanted == target)
            }
            None => false,
        };
        if !is_right {
            missing.push(name);
        }
    }
    Ok(missing)
}

/// Socket load balancers rewrite service addresses when a connection is made; ztunnel has to see the service. What
/// decides comes before them, what puts the service back after those that are there already.
fn order(program: &str) -> Order {
    match program {
        "weir_connect4" | "weir_connect6" | "weir_sendmsg4" | "weir_sendmsg6" => Order::First,
        _ => Order::Any,
    }
}

/// The program, loaded now unless it is already.
pub(super) fn loaded<'a>(
    name: &'static str,
    program: &'a mut Program,
) -> Result<BorrowedFd<'a>, DatapathError> {
    if program.fd().is_err() {
        load(name, program)?;
    }
    let fd = program.fd().map_err(|error| DatapathError::Program {
        program: name,
        why: error.into(),
    })?;
    Ok(fd.as_fd())
}

/// Loads one program, whatever its type.
pub(super) fn load<'a>(
    name: &'static str,
    program: &'a mut Program,
) -> Result<BorrowedFd<'a>, DatapathError> {
    let loaded: Result<&_, ProgramError> = match program {
        Program::CgroupSockAddr(program) => program.load().and_then(|()| program.fd()),
        Program::CgroupSockopt(program) => program.load().and_then(|()| program.fd()),
        Program::SockOps(program) => program.load().and_then(|()| program.fd()),
        Program::SkLookup(program) => program.load().and_then(|()| program.fd()),
        Program::SchedClassifier(program) => program.load().and_then(|()| program.fd()),
        _ => return Err(DatapathError::NoProgram(name)),
    };
    loaded
        .map(|fd| fd.as_fd())
        .map_err(|error| DatapathError::Program {
            program: name,
            why: error.into(),
        })
}
