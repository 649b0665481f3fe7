//! The eBPF objects, built with the agent and embedded in it.

use aya::{Ebpf, EbpfLoader};
use weir_common::names::map;

use super::{DatapathError, Pins, Sizes};

/// Programs for the cgroup socket hooks.
pub static SOCKOPS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-sockops"));
/// The lookup of listeners, loaded once per pod.
pub static LOOKUP: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-lookup"));
/// Programs for the traffic control hook.
pub static TC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-tc"));

/// Name of the constant that makes an instance a pod's own.
const NETNS_COOKIE: &str = "NETNS_COOKIE";

/// Loads an object whose maps are the pinned ones: adopted where they exist, made and pinned where they do not.
pub(super) fn load(object: &[u8], pins: &Pins, sizes: &Sizes) -> Result<Ebpf, DatapathError> {
    Ok(loader(pins, sizes).load(object)?)
}

/// The same for an object that has the pod's netns cookie in it.
pub(super) fn load_for_pod(
    object: &[u8],
    pins: &Pins,
    sizes: &Sizes,
    netns: u64,
) -> Result<Ebpf, DatapathError> {
    Ok(loader(pins, sizes)
        .override_global(NETNS_COOKIE, &netns, true)
        .load(object)?)
}

fn loader(pins: &Pins, sizes: &Sizes) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    for name in map::ALL {
        loader.map_pin_path(name, pins.map(name));
    }
    for (name, size) in sizes.by_map() {
        loader.map_max_entries(name, size);
    }
    loader
}
