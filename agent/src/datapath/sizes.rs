//! How large the maps are.

use weir_common::listener::SLOTS;
use weir_common::names::map;
use weir_common::reason::Reason;

/// How many entries each map takes. They are set when a map is made; a map of an earlier run keeps its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Enrolled pods.
    pub pods: u32,
    /// Addresses per pod, on average.
    pub addresses_per_pod: u32,
    /// Probes under way at once.
    pub probes: u32,
    /// Connections of which something is remembered at once, on the whole node.
    pub connections: u32,
    /// Cgroups of ztunnels that run at once.
    pub ztunnels: u32,
    /// Ports and ranges in annotations, per kind, on the whole node.
    pub rules: u32,
    /// Bytes of the ring of events; a power of two.
    pub event_bytes: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            pods: 1024,
            addresses_per_pod: 4,
            probes: 16384,
            connections: 262_144,
            ztunnels: 64,
            rules: 16384,
            event_bytes: 262_144,
        }
    }
}

impl Sizes {
    /// Entries of each map whose size is not fixed.
    pub(super) fn by_map(&self) -> [(&'static str, u32); 18] {
        let addresses = self.pods.saturating_mul(self.addresses_per_pod);
        let reasons = u32::try_from(Reason::ALL.len()).unwrap_or(u32::MAX);
        [
            (map::PODS, self.pods),
            (map::OWN_ADDRESSES, addresses),
            (map::PODS_BY_ADDRESS, addresses),
            // All slots of two ports: whatever ztunnels overlap, a pod that there is room for has room for their listeners.
            (map::LISTENERS, self.pods.saturating_mul(2 * SLOTS)),
            (map::NEWEST, self.pods.saturating_mul(2)),
            (map::ZTUNNELS, self.ztunnels),
            (map::PASSES, self.probes),
            (map::ASKERS, (self.connections / 16).max(1)),
            (map::DETOURS, self.pods),
            // Those that ztunnel has not accepted yet.
            (map::ORIGINALS, (self.connections / 4).max(1)),
            (map::PORT_RULES, self.rules),
            (map::RANGE_RULES, self.rules),
            (map::VIRTUAL_INTERFACES, self.pods),
            (map::LOCAL_PODS, addresses),
            (map::HOST_INTERFACES, self.pods.saturating_mul(2)),
            (map::FLOWS, self.connections),
            // One more for those of pods that have gone.
            (map::COUNTERS, self.pods.saturating_add(1).saturating_mul(reasons)),
            (map::EVENTS, self.event_bytes),
        ]
    }
}
