//! Attaching a program that does nothing, and letting it go.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::programs::tc::{TcError, qdisc_add_clsact};

use super::cgroup::ProbeCgroup;
use super::netns::PrivateNetns;
use super::trial::{self, refused, refused_io};
use crate::check::Outcome;
use crate::datapath::sys::{
    ALLOW_MULTI, AttachType, Objects, ProgramType, Target, fd_by_id, link_create, prog_query, program_info,
};

/// The loopback interface of every network namespace.
const LOOPBACK: u32 = 1;
/// What lets the call or packet go on: 1 at sockets, `TCX_NEXT` at interfaces.
const PASS: i32 = 1;
const NEXT: i32 = -1;

/// Attaches to the probe's cgroup, and looks whether Weir could attach to the parent as well.
pub fn cgroup(cgroup: &ProbeCgroup, attach: AttachType) -> Outcome {
    if let Some(outcome) = exclusive_program(cgroup.parent.as_fd(), attach) {
        return outcome;
    }
    let (kind, at_load) = match attach {
        AttachType::SOCK_OPS => (ProgramType::SOCK_OPS, None),
        AttachType::GETSOCKOPT => (ProgramType::SOCKOPT, Some(attach)),
        _ => (ProgramType::SOCK_ADDR, Some(attach)),
    };
    let program = trial::program_that_returns(kind, at_load, PASS);
    trial::result(program.and_then(|program| link(&program, Target::Fd(cgroup.directory.as_fd()), attach)))
}

/// Somebody's program that was attached without leave for others makes every further attachment fail.
fn exclusive_program(cgroup: BorrowedFd<'_>, attach: AttachType) -> Option<Outcome> {
    // A hook that cannot be queried tells when it is attached to.
    let attached = prog_query(Target::Fd(cgroup), attach).ok()?;
    let id = *attached.programs.first()?;
    if attached.flags & ALLOW_MULTI != 0 {
        return None;
    }
    let name = fd_by_id(Objects::Programs, id).and_then(|program| program_info(program.as_fd()));
    let name = name.map_or_else(|_| String::new(), |info| format!(" {}", info.name));
    Some(Outcome::missing(format!(
        "program{name} (id {id}) is attached there and allows no others"
    )))
}

/// Attaches to the socket look-up of the probe's network namespace.
pub fn sk_lookup(netns: &PrivateNetns) -> Outcome {
    let attach = AttachType::SK_LOOKUP;
    let program = trial::program_that_returns(ProgramType::SK_LOOKUP, Some(attach), PASS);
    trial::result(program.and_then(|program| link(&program, Target::Fd(netns.as_fd()), attach)))
}

/// Attaches to both directions of the probe's loopback interface.
pub fn tcx() -> Outcome {
    let program = trial::program_that_returns(ProgramType::SCHED_CLS, None, NEXT);
    trial::result(program.and_then(|program| {
        let target = Target::Interface(LOOPBACK);
        link(&program, target, AttachType::TCX_INGRESS)?;
        link(&program, target, AttachType::TCX_EGRESS)
    }))
}

/// Adds the qdisc to the probe's loopback interface.
pub fn clsact() -> Outcome {
    let program = trial::program_that_returns(ProgramType::SCHED_CLS, None, NEXT);
    trial::result(program.and_then(|_| {
        qdisc_add_clsact("lo").map_err(|error| refused_io("adding the qdisc", &io_error(error)))
    }))
}

/// The kernel's error inside aya's, whose own words do not tell it.
fn io_error(error: TcError) -> io::Error {
    match error {
        TcError::IoError(error) => error,
        TcError::NetlinkError(ref netlink) => netlink
            .raw_os_error()
            .map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error),
        other => io::Error::other(other),
    }
}

fn link(program: &OwnedFd, target: Target<'_>, attach: AttachType) -> Result<(), Outcome> {
    // Dropping the link detaches.
    link_create(program.as_fd(), target, attach, 0)
        .map(drop)
        .map_err(|error| refused(&error))
}
