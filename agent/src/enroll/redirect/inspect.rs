//! What there is for a pod whose connections are redirected.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::{local, wiring};
use crate::datapath::{Datapath, Hook};
use crate::enroll::EnrollError;

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
    let joints = wiring::of_pod(netns, host)?;
    let known = local::addresses_of(datapath.maps(), cookie)?;
    let leads = local::interfaces_of(datapath.maps(), cookie)?;
    let hook = Hook::of_this_kernel();
    let mut unattached = Vec::new();
    for joint in &joints {
        let attached = datapath.pod_peer_attached(cookie, hook, joint.peer.index)?;
        if !attached || !leads.contains(&joint.peer.index) {
            unattached.push(joint.inner.name.clone());
        }
    }
    let here = |interface: u32| joints.iter().any(|joint| joint.peer.index == interface);
    Ok(Found {
        wanted: joints
            .iter()
            .flat_map(|joint| joint.addresses.iter().copied())
            .collect(),
        addresses: known
            .into_iter()
            .filter(|(_, pod)| here(pod.interface))
            .map(|(address, _)| address.into())
            .collect(),
        unattached,
    })
}
