//! The maps of who is where on the node.

use weir_common::address::Address;
use weir_common::local_pod::LocalPod;
use weir_common::names::map;

use super::wiring::{Beside, Joint, Reach, Site};
use crate::datapath::{DatapathError, Maps, maps};
use crate::enroll::entries;

/// Makes the maps hold exactly these joints of the pod with this netns cookie.
///
/// # Errors
/// [`DatapathError`], a full map among them.
pub fn set(
    maps: &Maps,
    netns: u64,
    reach: &Reach,
    ztunnels_bridge: Option<u32>,
) -> Result<(), DatapathError> {
    let mut wanted = Vec::new();
    for beside in &reach.beside {
        wanted.extend(steered(netns, beside, 0));
    }
    for joint in &reach.joints {
        let on_ztunnels = joint.bridge.is_some() && joint.bridge == ztunnels_bridge;
        let flags = if on_ztunnels {
            LocalPod::ON_ZTUNNELS_BRIDGE
        } else {
            0
        };
        let entry = entry(netns, joint, flags);
        wanted.extend(
            joint
                .addresses
                .iter()
                .map(|address| (Address::from(*address), entry)),
        );
    }
    set_addresses(maps, netns, &wanted)?;
    reach
        .joints
        .iter()
        .try_for_each(|joint| set_interface(maps, joint.peer.index, netns))
}

fn set_interface(maps: &Maps, interface: u32, netns: u64) -> Result<(), DatapathError> {
    let mut interfaces = maps.host_interfaces()?;
    if entries::get(&interfaces, &interface, map::HOST_INTERFACES)? == Some(netns) {
        return Ok(());
    }
    interfaces
        .insert(interface, netns, 0)
        .map_err(maps::wrap(map::HOST_INTERFACES))?;
    maps.begin_era()
}

/// Makes the map hold exactly ztunnel's addresses for its netns.
///
/// # Errors
/// [`DatapathError`], a full map among them.
pub fn set_ztunnel(maps: &Maps, netns: u64, site: &Site) -> Result<(), DatapathError> {
    let mut wanted = Vec::new();
    if let Some(joint) = &site.joint {
        let entry = entry(netns, joint, LocalPod::ZTUNNEL);
        let addresses = joint.addresses.iter();
        wanted.extend(addresses.map(|address| (Address::from(*address), entry)));
    }
    if let Some(beside) = &site.beside {
        wanted.extend(steered(netns, beside, LocalPod::ZTUNNEL));
    }
    set_addresses(maps, netns, &wanted)
}

/// Forgets the addresses of a netns.
///
/// # Errors
/// [`DatapathError`].
pub fn forget_addresses(maps: &Maps, netns: u64) -> Result<(), DatapathError> {
    set_addresses(maps, netns, &[])
}

/// Forgets that an interface of the node leads to a pod.
///
/// # Errors
/// [`DatapathError`].
pub fn forget_interface(maps: &Maps, interface: u32) -> Result<(), DatapathError> {
    entries::remove(&mut maps.host_interfaces()?, &interface, map::HOST_INTERFACES)?;
    maps.begin_era()
}

/// Interfaces of the node that lead to the pod, as the map has them.
///
/// # Errors
/// [`DatapathError`].
pub fn interfaces_of(maps: &Maps, netns: u64) -> Result<Vec<u32>, DatapathError> {
    let interfaces = maps.host_interfaces()?;
    let entries = interfaces.iter().filter_map(Result::ok);
    Ok(entries
        .filter(|(_, holder)| *holder == netns)
        .map(|(interface, _)| interface)
        .collect())
}

/// Addresses of a netns, as the map has them.
///
/// # Errors
/// [`DatapathError`].
pub fn addresses_of(maps: &Maps, netns: u64) -> Result<Vec<(Address, LocalPod)>, DatapathError> {
    let pods = maps.local_pods()?;
    let entries = pods.iter().filter_map(Result::ok);
    Ok(entries.filter(|(_, pod)| pod.netns == netns).collect())
}

const fn entry(netns: u64, joint: &Joint, flags: u32) -> LocalPod {
    LocalPod {
        netns,
        interface: joint.peer.index,
        flags,
        mac: joint.mac,
        gateway: joint.gateway,
        reserved: 0,
    }
}

fn steered(netns: u64, beside: &Beside, flags: u32) -> impl Iterator<Item = (Address, LocalPod)> {
    let entry = LocalPod {
        netns,
        interface: 0,
        flags: flags | LocalPod::STEERED,
        mac: beside.mac,
        gateway: [0; 6],
        reserved: 0,
    };
    let addresses = beside.addresses.iter();
    addresses.map(move |address| (Address::from(*address), entry))
}

fn set_addresses(maps: &Maps, netns: u64, wanted: &[(Address, LocalPod)]) -> Result<(), DatapathError> {
    let held = addresses_of(maps, netns)?;
    let is_wanted = |address: &Address| wanted.iter().any(|(kept, _)| kept == address);
    let new: Vec<_> = wanted.iter().filter(|entry| !held.contains(entry)).collect();
    let over: Vec<_> = held.iter().filter(|(address, _)| !is_wanted(address)).collect();
    if new.is_empty() && over.is_empty() {
        return Ok(());
    }
    // What has been changed counts even if not all could be.
    change_addresses(maps, &new, &over).and(maps.begin_era())
}

fn change_addresses(
    maps: &Maps,
    new: &[&(Address, LocalPod)],
    over: &[&(Address, LocalPod)],
) -> Result<(), DatapathError> {
    let mut pods = maps.local_pods()?;
    for (address, entry) in new {
        pods.insert(address, entry, 0)
            .map_err(maps::wrap(map::LOCAL_PODS))?;
    }
    for (address, _) in over {
        entries::remove(&mut pods, address, map::LOCAL_PODS)?;
    }
    Ok(())
}
