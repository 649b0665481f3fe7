//! The maps of the node contract, as `weir_common::names::map` describes them. Sizes are defaults: the agent sets them.

use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap};
use aya_ebpf::macros::btf_map;
use weir_common::address::Address;
use weir_common::flow::{self, Decided, Ends, PairTime};
use weir_common::local_pod::LocalPod;
use weir_common::pod::PodEntry;
use weir_common::ztunnel::{NodeContract, SLOTS, ZtunnelPlace};
use weir_ebpf_shared::maps::pod;

use crate::near;

#[btf_map(name = "weir_local_pods")]
static LOCAL_PODS: HashMap<Address, LocalPod, 16384> = HashMap::new();

#[btf_map(name = "weir_host_if")]
static HOST_INTERFACES: HashMap<u32, u64, 4096> = HashMap::new();

// A connection that begins replaces what was decided for an earlier one; those that are over make room.
#[btf_map(name = "weir_flows")]
pub static FLOWS: LruHashMap<Ends, Decided, 262144> = LruHashMap::new();

#[btf_map(name = "weir_pairs")]
pub static PAIRS: Array<u32, { flow::PAIRS as usize }> = Array::new();

#[btf_map(name = "weir_pair_time")]
pub static PAIR_TIME: Array<PairTime, 1> = Array::new();

#[btf_map(name = "weir_era")]
static ERA: Array<u64, 1> = Array::new();

#[btf_map(name = "weir_places")]
static PLACES: Array<ZtunnelPlace, 4> = Array::new();

#[btf_map(name = "weir_contract")]
static CONTRACT: Array<NodeContract, 1> = Array::new();

/// No era is this one.
pub const UNCHECKED: u64 = u64::MAX;

/// Settings of the node contract; without them there is no ztunnel.
#[inline(always)]
pub fn contract() -> NodeContract {
    CONTRACT.get(0).copied().unwrap_or(NodeContract {
        current: SLOTS,
        flags: 0,
        secret: [0; 3],
        implied: 0,
    })
}

/// The ztunnel in this slot, if there is one.
#[inline(always)]
pub fn ztunnel_at(slot: u32) -> Option<ZtunnelPlace> {
    PLACES.get(slot).copied().filter(|place| place.netns != 0)
}

/// The era. It has to be read before what is checked in it.
#[inline(always)]
pub fn era() -> u64 {
    // SAFETY: a live map value of eight aligned bytes; volatile, so that it is read here.
    ERA.get(0).map_or(UNCHECKED, |era| unsafe {
        core::ptr::from_ref(era).read_volatile()
    })
}

/// Netns cookie of the pod that the host's interface leads to.
#[inline(always)]
pub fn pod_behind(interface: u32) -> Option<u64> {
    // SAFETY: a live map value of eight aligned bytes.
    HOST_INTERFACES.get_ptr(interface).map(|netns| unsafe { *netns })
}

/// Who of the node contract has this address in this era: a pod, or ztunnel.
#[inline(always)]
pub fn local(address: Address, era: u64) -> Option<LocalPod> {
    near::owner(address, era, || {
        // SAFETY: a live map value; a reader may see an update half done, in which case the packet goes astray and is
        // sent again in the era that begins with the update.
        let mut local = LOCAL_PODS.get_ptr(address).map(|local| unsafe { *local })?;
        if pod(local.netns).is_some_and(|pod| pod.has(PodEntry::IMPLIED)) {
            local.flags |= LocalPod::CAPTURED;
        }
        Some(local)
    })
}

/// The pod of the node contract that has this address in this era.
#[inline(always)]
pub fn local_pod(address: Address, era: u64) -> Option<LocalPod> {
    local(address, era).filter(|pod| !pod.has(LocalPod::ZTUNNEL))
}
