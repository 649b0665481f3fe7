//! Where a pod's connection goes, as far as capturing is concerned.

use aya_ebpf::btf_maps::lpm_trie::Key;
use weir_common::address::Address;
use weir_common::filter::{self, EXCLUDE, INCLUDE, NEITHER, PortRule, RangeRule};
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;

use crate::maps::{PORT_RULES, RANGE_RULES};

/// Where an enrolled pod's outbound connection goes.
pub enum Place {
    /// To the pod itself: never captured.
    Own(Reason),
    /// To the world, but not captured, for this reason.
    Uncaptured(Reason),
    /// To the world, by way of ztunnel.
    World,
}

/// Where a connection of a pod to `address` goes, before annotations have their say.
#[inline(always)]
pub fn of(address: Address, is_own: impl FnOnce() -> bool) -> Place {
    if address.is_loopback() || address.is_unspecified() {
        Place::Own(Reason::Loopback)
    } else if is_own() {
        Place::Own(Reason::OwnAddress)
    } else if address.is_v6_link_local() {
        Place::Uncaptured(Reason::LinkLocal)
    } else {
        Place::World
    }
}

/// Why annotations keep an outbound connection from being captured, if they do.
#[inline(always)]
pub fn outbound_exclusion(netns: u64, pod: PodEntry, address: Address, port: u16) -> Option<Reason> {
    if !pod.has(PodEntry::OUTBOUND_FILTER) {
        return None;
    }
    let port_rule = port_rule(netns, filter::OUTBOUND, port);
    if port_rule == EXCLUDE {
        return Some(Reason::ExcludedPort);
    }
    let key = Key::new(RangeRule::NETNS_BITS + 128, RangeRule::new(netns, address));
    match RANGE_RULES.get(&key).copied().unwrap_or(NEITHER) {
        EXCLUDE => Some(Reason::ExcludedRange),
        NEITHER if port_rule != INCLUDE && pod.has(PodEntry::OUTBOUND_BY_INCLUSION) => {
            Some(Reason::ExcludedRange)
        }
        _ => None,
    }
}

/// Why a connection of a virtual machine in the pod is not captured, if it is not. To such a machine the pod's own
/// addresses are the world.
#[inline(always)]
pub fn virtual_exemption(netns: u64, pod: PodEntry, address: Address, port: u16) -> Option<Reason> {
    if address.is_loopback() || address.is_unspecified() {
        Some(Reason::Loopback)
    } else if address.is_v6_link_local() {
        Some(Reason::LinkLocal)
    } else {
        outbound_exclusion(netns, pod, address, port)
    }
}

/// Whether annotations keep an inbound connection from being captured.
#[inline(always)]
pub fn is_inbound_excluded(netns: u64, pod: PodEntry, port: u16) -> bool {
    if !pod.has(PodEntry::INBOUND_FILTER) {
        return false;
    }
    match port_rule(netns, filter::INBOUND, port) {
        EXCLUDE => true,
        INCLUDE => false,
        _ => pod.has(PodEntry::INBOUND_BY_INCLUSION),
    }
}

#[inline(always)]
fn port_rule(netns: u64, direction: u16, port: u16) -> u32 {
    let key = PortRule {
        netns,
        direction,
        port,
        reserved: 0,
    };
    // SAFETY: a live map value of four aligned bytes.
    PORT_RULES.get_ptr(key).map_or(NEITHER, |rule| unsafe { *rule })
}
