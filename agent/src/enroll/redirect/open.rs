//! Connections that are open.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use weir_common::flow::{Decided, Ends};

use crate::datapath::Maps;
use crate::enroll::EnrollError;
use crate::enroll::socket_table::{self, States};

/// Lets the connections that are open in a pod go on uncaptured: ztunnel knows nothing of them. New ones are noted as
/// such by the programs already, so none is missed in between.
///
/// # Errors
/// [`EnrollError`] if the sockets cannot be listed or the map takes no more.
pub fn pass(
    maps: &Maps,
    netns: BorrowedFd<'_>,
    cookie: u64,
    own: &BTreeSet<IpAddr>,
) -> Result<(), EnrollError> {
    let passed = Decided {
        what: Decided::PASSED,
        ztunnel: 0,
        netns: cookie,
    };
    let open = socket_table::read(netns, States::CONNECTED)?.into_iter();
    let open = open.filter(|socket| own.contains(&socket.local.ip()));
    let ends = open.map(|socket| Ends {
        peer: socket.remote.ip().into(),
        pod: socket.local.ip().into(),
        peer_port: socket.remote.port(),
        pod_port: socket.local.port(),
    });
    // CPUs may have kept what was decided before: another era begins.
    Ok(maps.remember(ends, passed)?)
}

/// How many sockets ztunnel has for connections from or to these addresses.
///
/// # Errors
/// [`EnrollError`] if its sockets cannot be listed.
pub fn in_ztunnel(ztunnel: BorrowedFd<'_>, own: &BTreeSet<IpAddr>) -> Result<usize, EnrollError> {
    let sockets = socket_table::read(ztunnel, States::CONNECTED)?;
    let of_pod = |address: IpAddr| own.contains(&address);
    Ok(sockets
        .iter()
        .filter(|socket| of_pod(socket.local.ip()) || of_pod(socket.remote.ip()))
        .count())
}
