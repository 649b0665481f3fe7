//! What there is for a pod whose connections are redirected.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use futures::TryStreamExt as _;
use netlink_packet_route::tc::TcMessage;
use weir_common::local_pod::LocalPod;
use weir_netdetect::choose::ChoiceConfig;

use super::{local, wiring};
use crate::datapath::{Datapath, Hook};
use crate::enroll::{EnrollError, netlink};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Addresses that connections may have.
    pub wanted: BTreeSet<IpAddr>,
    /// Those that the kernel side knows, where they are.
    pub addresses: BTreeSet<IpAddr>,
    /// Interfaces of the pod, by name, at whose other ends the programs do not run.
    pub unattached: Vec<String>,
}

/// Looks at a pod.
///
/// # Errors
/// [`EnrollError`] if it cannot be looked at.
pub fn pod(
    datapath: &Datapath,
    host: BorrowedFd<'_>,
    netns: BorrowedFd<'_>,
    cookie: u64,
) -> Result<Found, EnrollError> {
    // Where ztunnel is does not matter: what is beside it is what the kernel side knows as such.
    let wiring::Reach { joints, beside, .. } = wiring::of_pod(netns, host, &ChoiceConfig::default())?;
    let known = local::addresses_of(datapath.maps(), cookie)?;
    let leads = local::interfaces_of(datapath.maps(), cookie)?;
    let mut unattached = Vec::new();
    for joint in &joints {
        let filters = filters(datapath, host, joint.peer.index)?;
        let attached = datapath.pod_peer_attached(cookie, joint.peer.index, &filters)?;
        if !attached || !leads.contains(&joint.peer.index) {
            unattached.push(joint.inner.name.clone());
        }
    }
    let is_steered = |beside: &&wiring::Beside| {
        let mut steered = known.iter().filter(|(_, pod)| pod.has(LocalPod::STEERED));
        steered.any(|(address, _)| beside.addresses.contains(&IpAddr::from(*address)))
    };
    let beside: Vec<_> = beside.iter().filter(is_steered).collect();
    for beside in &beside {
        let filters = filters(datapath, netns, beside.inner.index)?;
        if !datapath.steering_attached(cookie, beside.inner.index, &filters)? {
            unattached.push(beside.inner.name.clone());
        }
    }
    let here = |pod: &LocalPod| {
        pod.has(LocalPod::STEERED) || joints.iter().any(|joint| joint.peer.index == pod.interface)
    };
    let at_peers = joints.iter().flat_map(|joint| joint.addresses.iter().copied());
    let besides = beside.iter().flat_map(|beside| beside.addresses.iter().copied());
    Ok(Found {
        wanted: at_peers.chain(besides).collect(),
        addresses: known
            .into_iter()
            .filter(|(_, pod)| here(pod))
            .map(|(address, _)| address.into())
            .collect(),
        unattached,
    })
}

/// All filters of an interface; none where programs are attached by links.
pub(in crate::enroll) fn filters(
    datapath: &Datapath,
    netns: BorrowedFd<'_>,
    interface: u32,
) -> Result<Vec<TcMessage>, EnrollError> {
    let index = match (datapath.hook(), i32::try_from(interface)) {
        (Hook::Clsact, Ok(index)) => index,
        _ => return Ok(Vec::new()),
    };
    netlink::run(netns, async |handle| {
        let mut requests = handle.traffic_filter(index);
        let mut found = Vec::new();
        for request in [requests.get().ingress(), requests.get().egress()] {
            match request.execute().try_collect::<Vec<TcMessage>>().await {
                Ok(filters) => found.extend(filters),
                // The qdisc is gone, or the interface.
                Err(rtnetlink::Error::NetlinkError(_)) => {}
                Err(error) => return Err(EnrollError::netlink("list filters")(error)),
            }
        }
        Ok(found)
    })
}
