//! The maps of this path alone. Where no pod needs it they do not exist.

use aya_ebpf::btf_maps::{HashMap, LruHashMap};
use aya_ebpf::macros::btf_map;
use weir_common::address::Address;
use weir_common::detour::{ClientEnd, Detour, Original};
use weir_ebpf_shared::maps::PODS_BY_ADDRESS;

#[btf_map(name = "weir_detours")]
static DETOURS: HashMap<u64, Detour, 4096> = HashMap::new();

// Entries leave when ztunnel accepts or the connection fails; where that was missed the oldest make room.
#[btf_map(name = "weir_originals")]
pub static ORIGINALS: LruHashMap<ClientEnd, Original, 65536> = LruHashMap::new();

/// Where the pod with this netns cookie reaches ztunnel, if its connections make the detour.
#[inline(always)]
pub fn detour(netns: u64) -> Option<Detour> {
    // SAFETY: a live map value; the agent writes it once, before the pod's connections make the detour.
    DETOURS.get_ptr(netns).map(|detour| unsafe { *detour })
}

/// Which pod has this address, if its connections make the detour.
#[inline(always)]
pub fn detoured_pod(address: Address) -> Option<u64> {
    // SAFETY: a live map value of eight aligned bytes.
    let netns = unsafe { *PODS_BY_ADDRESS.get_ptr(address)? };
    detour(netns).map(|_| netns)
}

/// Where the connection from this end was going.
#[inline(always)]
pub fn original(end: &ClientEnd) -> Option<Original> {
    // SAFETY: a live map value, written before the connection's first packet leaves.
    ORIGINALS.get_ptr(end).map(|original| unsafe { *original })
}
