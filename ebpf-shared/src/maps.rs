//! The maps, as `weir_common::names::map` describes them. Sizes are defaults: the agent sets them from its
//! configuration when it creates the maps.
#![expect(
    missing_docs,
    reason = "each map is described once, beside its name in weir-common"
)]

use aya_ebpf::btf_maps::{
    Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf, SkStorage, SockHash,
};
use aya_ebpf::macros::btf_map;
use weir_common::address::{Address, OwnAddress};
use weir_common::claim::{self, Claim, ClientPort};
use weir_common::event::{CounterKey, Event};
use weir_common::filter::{PortRule, RangeRule};
use weir_common::flow::{Flow, Making, SocketNote};
use weir_common::interface::InterfaceKey;
use weir_common::listener::{ListenerKey, PortKey};
use weir_common::node::NodeSettings;
use weir_common::pod::{PodEntry, PodRecord};

#[btf_map(name = "weir_node")]
pub static NODE: Array<NodeSettings, 1> = Array::new();

#[btf_map(name = "weir_pods")]
pub static PODS: HashMap<u64, PodRecord, 4096> = HashMap::new();

#[btf_map(name = "weir_own")]
pub static OWN_ADDRESSES: HashMap<OwnAddress, u32, 16384> = HashMap::new();

#[btf_map(name = "weir_by_address")]
pub static PODS_BY_ADDRESS: HashMap<Address, u64, 16384> = HashMap::new();

#[btf_map(name = "weir_listeners")]
pub static LISTENERS: SockHash<ListenerKey, 16384> = SockHash::new();

#[btf_map(name = "weir_newest")]
pub static NEWEST: HashMap<PortKey, u32, 16384> = HashMap::new();

#[btf_map(name = "weir_ztunnels")]
pub static ZTUNNELS: HashMap<u64, u32, 64> = HashMap::new();

// Entries leave when their socket closes; where that was missed the oldest make room.
#[btf_map(name = "weir_passes")]
pub static PASSES: LruHashMap<Flow, u64, 65536> = LruHashMap::new();

#[btf_map(name = "weir_claims")]
pub static CLAIMS: Array<Claim, { claim::SEATS as usize }> = Array::new();

#[btf_map(name = "weir_port_turns")]
pub static CURSORS: Array<u32, { claim::CURSORS as usize }> = Array::new();

// Needed from a SYN until its connection is accepted.
#[btf_map(name = "weir_askers")]
pub static ASKERS: LruHashMap<ClientPort, u32, 16384> = LruHashMap::new();

#[btf_map(name = "weir_listened")]
pub static LISTENED: Array<u32, 65536> = Array::new();

#[btf_map(name = "weir_port_rules")]
pub static PORT_RULES: HashMap<PortRule, u32, 16384> = HashMap::new();

#[btf_map(name = "weir_ranges")]
pub static RANGE_RULES: LpmTrie<RangeRule, u32, 16384> = LpmTrie::new();

#[btf_map(name = "weir_virtual_if")]
pub static VIRTUAL_INTERFACES: HashMap<InterfaceKey, u32, 4096> = HashMap::new();

#[btf_map(name = "weir_notes")]
pub static NOTES: SkStorage<SocketNote> = SkStorage::new();

#[btf_map(name = "weir_making")]
pub static MAKING: PerCpuArray<Making, 1> = PerCpuArray::new();

#[btf_map(name = "weir_counters")]
pub static COUNTERS: PerCpuHashMap<CounterKey, u64, 131072> = PerCpuHashMap::new();

#[btf_map(name = "weir_events")]
pub static EVENTS: RingBuf<Event, 262144> = RingBuf::new();

#[btf_map(name = "weir_untold")]
pub static UNTOLD: PerCpuArray<u32, 1> = PerCpuArray::new();

/// The node's settings; all zero until the agent has written them.
#[inline(always)]
pub fn node() -> NodeSettings {
    NODE.get(0).copied().unwrap_or(NodeSettings {
        host_netns: 0,
        pods_cgroup: 0,
        ztunnel: 0,
        pods_cgroup_level: 0,
        flags: 0,
    })
}

/// What is to be done with the connections of the pod with this netns cookie.
#[inline(always)]
pub fn pod(netns: u64) -> Option<PodEntry> {
    PODS.get_ptr(netns).map(|record| {
        // SAFETY: the pointer is a live map value; a torn read is impossible for four aligned bytes of flags.
        unsafe { (*record).entry }
    })
}

/// Whether `address` belongs to the pod, by the map of all pods' addresses.
#[inline(always)]
pub fn is_own(netns: u64, address: Address) -> bool {
    OWN_ADDRESSES.get_ptr(OwnAddress { netns, address }).is_some()
}

/// Whether the pod's virtual machines are behind the interface with this index.
#[inline(always)]
pub fn is_virtual(netns: u64, index: u32) -> bool {
    let key = InterfaceKey {
        netns,
        index,
        reserved: 0,
    };
    VIRTUAL_INTERFACES.get_ptr(key).is_some()
}
