//! Filters of clsact qdiscs: how programs are put at interfaces where the kernel has no links for that.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;

use aya::programs::links::Link as Detach;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle};
use aya::programs::{ProgramError, SchedClassifier};
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcMessage, TcOption};
use nix::net::if_::if_nameindex;

use super::guard::GUARD;
use super::interface::Role;
use super::redirect::{POD_IN, POD_OUT, ZTUNNEL_GATE, ZTUNNEL_IN, ZTUNNEL_OUT};
use super::steer::{STEER_BACK, STEER_FENCE, STEER_IN, STEER_OUT};
use super::virtual_interface::VIRTUAL;
use super::{DatapathError, occupied, qdisc};
use crate::inside;

/// All that there are.
const ROLES: [Role; 11] = [
    GUARD,
    VIRTUAL,
    POD_OUT,
    POD_IN,
    ZTUNNEL_OUT,
    ZTUNNEL_GATE,
    ZTUNNEL_IN,
    STEER_OUT,
    STEER_IN,
    STEER_BACK,
    STEER_FENCE,
];

/// Where our filters are on an interface: early.
const PRIORITY: u16 = 1;
/// And under handles that are nobody else's: this ("WE") and a role's own number.
const OWNER: u16 = 0x5745;

const fn handle(role: Role) -> TcHandle {
    TcHandle::new(OWNER, role.filter)
}

/// Whether this is the role's filter, with a program of ours.
pub(super) fn is_of(role: Role, filter: &TcMessage) -> bool {
    let (handle, priority) = (filter.header.handle, filter.header.info >> 16);
    let is_in_place = (handle.major, handle.minor, priority) == (OWNER, role.filter, PRIORITY.into());
    is_in_place && program(filter).is_some_and(|name| role.is_named(name))
}

/// The name of the program that a filter runs.
fn program(filter: &TcMessage) -> Option<&str> {
    let mut options = filter.attributes.iter().flat_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.as_slice(),
        _ => &[],
    });
    options.find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.as_str()),
        _ => None,
    })
}

/// Takes the role's filter away from the interface with this index, if there is one.
pub(super) fn remove_at(role: Role, interface: u32) -> Result<(), DatapathError> {
    let interfaces = if_nameindex().map_err(role.failed("(all)"))?;
    let found = interfaces.iter().find(|found| found.index() == interface);
    found.map_or(Ok(()), |found| remove(role, &found.name().to_string_lossy()))
}

/// The qdisc stays when the filter goes: others may have come to use it.
pub(super) fn upsert(
    program: &mut SchedClassifier,
    role: Role,
    interface: &str,
) -> Result<(), DatapathError> {
    qdisc::ensure(interface, role.direction).map_err(role.failed(interface))?;
    replace_or_make(program, role, interface).map_err(|error| {
        match occupied::find(interface, role.direction, PRIORITY) {
            Some(occupied) => role.failed(interface)(occupied),
            None => role.failed(interface)(error),
        }
    })
}

fn replace_or_make(program: &mut SchedClassifier, role: Role, interface: &str) -> Result<(), ProgramError> {
    let id = match program.attach_to_link(ours(role, interface)?) {
        Err(error) if is_absent(&error) => {
            let options = TcAttachOptions::Netlink(NlOptions {
                priority: PRIORITY,
                handle: handle(role),
                classid: None,
            });
            program.attach_with_options(interface, role.direction, options)?
        }
        other => other?,
    };
    // Dropping the handle would remove the filter, which has to outlive this process.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Takes the role's filters away from all other interfaces of the namespace that the calling thread is in.
pub(super) fn clear(role: Role, kept: &BTreeSet<u32>) -> Result<(), DatapathError> {
    let interfaces = if_nameindex().map_err(role.failed("(all)"))?;
    for interface in &interfaces {
        if kept.contains(&interface.index()) {
            continue;
        }
        remove(role, &interface.name().to_string_lossy())?;
    }
    Ok(())
}

/// Takes all filters of ours away from all interfaces of a namespace.
///
/// # Errors
/// [`DatapathError`] names the interface.
pub fn remove_all(netns: BorrowedFd<'_>) -> Result<(), DatapathError> {
    inside::run(netns, || {
        let none = BTreeSet::new();
        ROLES.iter().try_for_each(|role| clear(*role, &none))
    })?
}

fn remove(role: Role, interface: &str) -> Result<(), DatapathError> {
    let removed = ours(role, interface)
        .map_err(ProgramError::from)
        .and_then(Detach::detach);
    match removed {
        Err(error) if !is_absent(&error) => Err(role.failed(interface)(error)),
        _ => Ok(()),
    }
}

/// The handle of our filter, whether it exists or not.
fn ours(role: Role, interface: &str) -> Result<SchedClassifierLink, TcError> {
    Ok(SchedClassifierLink::attached(
        interface,
        role.direction,
        PRIORITY,
        handle(role),
        None,
    )?)
}

/// No filter, no chain, no qdisc, or no interface any more.
fn is_absent(error: &ProgramError) -> bool {
    let code = match error {
        ProgramError::NetlinkError(error) | ProgramError::TcError(TcError::NetlinkError(error)) => {
            error.raw_os_error()
        }
        ProgramError::TcError(TcError::IoError(error)) => error.raw_os_error(),
        _ => None,
    };
    matches!(code, Some(libc::ENOENT | libc::EINVAL | libc::ENODEV))
}
