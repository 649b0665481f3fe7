//! The maps of addresses: whose each is, seen from the pod and from the node.

use std::net::IpAddr;

use weir_common::address::{Address, OwnAddress};
use weir_common::names::map;

use super::addresses::Addresses;
use super::entries;
use crate::datapath::{DatapathError, Maps};

/// What the maps hold for a pod before they are changed: walking over all pods' addresses takes long on a full node.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// The pod is new.
    Nothing,
    /// These.
    Addresses(&'a Addresses),
    /// An earlier agent may have left anything.
    Unclear,
}

/// Makes the maps hold exactly these addresses for the pod.
///
/// # Errors
/// [`DatapathError`], a full map among them.
pub fn set(maps: &Maps, netns: u64, addresses: &Addresses, known: Known<'_>) -> Result<(), DatapathError> {
    let wanted: Vec<Address> = addresses.own.iter().copied().map(Address::from).collect();
    let mut held = match known {
        Known::Nothing => Vec::new(),
        Known::Addresses(addresses) => addresses.own.iter().copied().map(Address::from).collect(),
        Known::Unclear => of(maps, netns)?,
    };
    held.retain(|address| !wanted.contains(address));
    // What goes makes room for what comes.
    for address in held {
        unlist(maps, netns, address)?;
        let mut own = maps.own_addresses()?;
        entries::remove(&mut own, &OwnAddress { netns, address }, map::OWN_ADDRESSES)?;
    }
    for &address in &wanted {
        maps.set_own_address(netns, address)?;
        // Link-local addresses are not unique on the node; nobody probes them.
        if !is_link_local(address) {
            maps.set_pod_by_address(address, netns)?;
        }
    }
    Ok(())
}

/// Takes the pod's addresses out of what the node sees; the pod goes on knowing them.
///
/// # Errors
/// [`DatapathError`].
pub fn hide(maps: &Maps, netns: u64) -> Result<(), DatapathError> {
    of(maps, netns)?
        .into_iter()
        .try_for_each(|address| unlist(maps, netns, address))
}

/// The addresses that the maps hold for the pod.
///
/// # Errors
/// [`DatapathError`].
pub fn of(maps: &Maps, netns: u64) -> Result<Vec<Address>, DatapathError> {
    let own = maps.own_addresses()?;
    let keys = own.keys().filter_map(Result::ok);
    Ok(keys
        .filter(|key| key.netns == netns)
        .map(|key| key.address)
        .collect())
}

/// Another pod may have taken the address over.
fn unlist(maps: &Maps, netns: u64, address: Address) -> Result<(), DatapathError> {
    let mut by_address = maps.pods_by_address()?;
    match entries::get(&by_address, &address, map::PODS_BY_ADDRESS)? {
        Some(holder) if holder == netns => entries::remove(&mut by_address, &address, map::PODS_BY_ADDRESS),
        _ => Ok(()),
    }
}

fn is_link_local(address: Address) -> bool {
    match IpAddr::from(address) {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
