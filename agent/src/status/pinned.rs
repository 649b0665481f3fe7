//! What the pins tell of a pod, with or without an agent.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::maps::MapError;
use weir_common::names::map;
use weir_common::pod::PodEntry;

use super::{reasons, verdicts};
use crate::api::VERSION;
use crate::api::status::{KernelState, Pinned, PinnedPod};
use crate::datapath::{DatapathError, Maps, Pins, counters, lookup, maps};

/// The flags of a pod's entry, by name.
const FLAGS: [(u32, &str); 15] = [
    (PodEntry::CAPTURING, "capturing"),
    (PodEntry::INBOUND_BYPASS, "inbound-bypass"),
    (PodEntry::DNS, "dns"),
    (PodEntry::OUTBOUND_FILTER, "outbound-filter"),
    (PodEntry::INBOUND_FILTER, "inbound-filter"),
    (PodEntry::OUTBOUND_BY_INCLUSION, "outbound-by-inclusion"),
    (PodEntry::INBOUND_BY_INCLUSION, "inbound-by-inclusion"),
    (PodEntry::REDIRECTING, "redirecting"),
    (PodEntry::NODE, KernelState::NODE_CONTRACT),
    (PodEntry::PORTS_REST, "ports-rest"),
    (PodEntry::DRAINING, "draining"),
    (PodEntry::DETOURED, "detoured"),
    (PodEntry::OPEN, "open"),
    (PodEntry::VIRTUAL, "virtual"),
    (PodEntry::RETURNING, "returning"),
];

/// The kernel's entry for a pod, if there is one.
///
/// # Errors
/// [`DatapathError`] if it cannot be read.
pub fn kernel_state(maps: &Maps, pins: &Pins, netns: u64) -> Result<Option<KernelState>, DatapathError> {
    match maps.pods()?.get(&netns, 0) {
        Ok(record) => state(record.entry, pins, netns).map(Some),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(maps::wrap(map::PODS)(source)),
    }
}

fn state(entry: PodEntry, pins: &Pins, netns: u64) -> Result<KernelState, DatapathError> {
    Ok(KernelState {
        flags: flag_names(entry),
        lookup_attached: lookup::attached(pins, netns)?,
    })
}

/// The names of the flags that are set.
#[must_use]
pub fn flag_names(entry: PodEntry) -> Vec<String> {
    FLAGS
        .iter()
        .filter(|(flag, _)| entry.has(*flag))
        .map(|(_, name)| (*name).to_owned())
        .collect()
}

/// What the pins tell of all pods.
///
/// # Errors
/// [`DatapathError`] if there are no pins, or they cannot be read.
pub fn read(pins: &Pins) -> Result<Pinned, DatapathError> {
    let maps = Maps::adopt(pins);
    let counts = counters::by_pod(&maps)?;
    let mut addresses: BTreeMap<u64, Vec<IpAddr>> = BTreeMap::new();
    for key in maps.own_addresses()?.keys() {
        let key = key.map_err(maps::wrap(map::OWN_ADDRESSES))?;
        addresses.entry(key.netns).or_default().push(key.address.into());
    }
    let mut pinned = Vec::new();
    for entry in maps.pods()?.iter() {
        let (netns, record) = entry.map_err(maps::wrap(map::PODS))?;
        let mut addresses = addresses.remove(&netns).unwrap_or_default();
        addresses.sort_unstable();
        let counts = counts.get(&netns);
        pinned.push(PinnedPod {
            netns,
            addresses,
            kernel: state(record.entry, pins, netns)?,
            connections: counts.map(verdicts).unwrap_or_default(),
            reasons: counts.map(reasons).unwrap_or_default(),
        });
    }
    pinned.sort_by_key(|pod| pod.netns);
    Ok(Pinned {
        api_version: VERSION,
        agent: None,
        pinned,
    })
}
