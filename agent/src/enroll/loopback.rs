//! ztunnel's outbound listeners speak by loopback alone while Weir captures. Whoever redirects to them after Weir needs
//! them as ztunnel made them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use serde::Serialize;
use weir_common::{mark, ports};

use super::EnrollError;
use super::borrowed::{self, Owners};
use super::routing::LOOPBACK_INDEX;
use super::socket_table::{self, Socket, States};

/// A listener that could not be freed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error(
    "ztunnel's listener on port {} in the pod with netns cookie {netns} still speaks by loopback alone: {why}; restart \
     ztunnel before anything else redirects connections to it, or those by IPv6 time out",
    ports::OUTBOUND
)]
pub struct StillBound {
    /// The pod's netns cookie.
    pub netns: u64,
    /// What was in the way.
    pub why: String,
}

/// Has ztunnel's outbound listeners in these namespaces, by cookie, speak by any interface again. Nobody says who ztunnel
/// is: where any is bound, and only there, the descriptors of all processes are walked over, once.
pub fn free<N: AsFd>(namespaces: &BTreeMap<u64, N>) -> Vec<StillBound> {
    let (mut bound, mut left) = (Vec::new(), Vec::new());
    for (&netns, handle) in namespaces {
        match bound_in(handle.as_fd()) {
            Ok(found) => bound.extend(
                found
                    .into_iter()
                    .map(|listener| (netns, handle.as_fd(), listener)),
            ),
            Err(error) => left.push(StillBound {
                netns,
                why: error.to_string(),
            }),
        }
    }
    if !bound.is_empty() {
        let listeners: Vec<Socket> = bound.iter().map(|(.., listener)| *listener).collect();
        let owners = Owners::among_all(&listeners);
        left.extend(bound.into_iter().filter_map(|(netns, handle, listener)| {
            let why = free_one(&owners, &listener).err()?;
            is_still_bound(handle, &listener).then_some(StillBound { netns, why })
        }));
    }
    left
}

/// One that is closed by now, as when ztunnel has just been told that its pod has left, is not.
fn is_still_bound(netns: BorrowedFd<'_>, listener: &Socket) -> bool {
    bound_in(netns).map_or(true, |bound| {
        bound.iter().any(|other| other.inode == listener.inode)
    })
}

/// Those that we have bound: by their mark they are ztunnel's, and nobody else's.
fn bound_in(netns: BorrowedFd<'_>) -> Result<Vec<Socket>, EnrollError> {
    let mut listening = socket_table::read(netns, States::LISTENING)?;
    listening.retain(|socket| {
        socket.local.port() == ports::OUTBOUND
            && socket.interface == LOOPBACK_INDEX
            && mark::ours(socket.mark) == mark::OUTBOUND
    });
    Ok(listening)
}

fn free_one(owners: &Owners, listener: &Socket) -> Result<(), String> {
    let freed = match owners.borrow(listener.inode) {
        Some(copy) => copy.and_then(|copy| borrowed::speak_by_loopback(&copy, false)),
        None => Err(io::Error::other("no process that can be seen has it")),
    };
    freed.map_err(|error| format!("{error}; it takes NET_RAW, SYS_PTRACE and the node's processes (hostPID)"))
}
