//! The eBPF objects, built with the agent and embedded in it.

use std::sync::{Mutex, PoisonError};

use aya::{Ebpf, EbpfLoader};
use weir_common::names::{PLACE_OF_COOKIE, map};

use super::{DatapathError, Pins, Sizes};

/// Programs for the cgroup socket hooks.
pub static SOCKOPS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-sockops"));
/// The lookup of listeners, loaded once per pod.
pub static LOOKUP: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-lookup"));
/// Programs for the traffic control hook.
pub static TC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-tc"));

/// Loads an object whose maps are the pinned ones: adopted where they exist, made and pinned where they do not.
pub(super) fn load(object: &[u8], pins: &Pins, sizes: &Sizes) -> Result<Ebpf, DatapathError> {
    Ok(loader(pins, sizes).load(object)?)
}

/// Loads objects that have a pod's netns cookie in them. Kept, because making a loader means to read all type
/// information of the kernel, which takes longer than everything else about a pod.
pub(super) struct PodLoader {
    loader: Mutex<EbpfLoader<'static>>,
}

impl PodLoader {
    pub(super) fn new(pins: &Pins, sizes: &Sizes) -> Self {
        let mut loader = loader(pins, sizes);
        // Nothing in our objects depends on the kernel's types.
        loader.btf(None);
        Self {
            loader: Mutex::new(loader),
        }
    }

    pub(super) fn load(&self, object: &[u8], netns: u64) -> Result<Ebpf, DatapathError> {
        let object = for_pod(object, netns);
        // A panic elsewhere leaves settings behind that never change.
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(loader.load(&object)?)
    }
}

impl std::fmt::Debug for PodLoader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PodLoader")
    }
}

/// A copy of `object` with the pod's netns cookie in its place.
fn for_pod(object: &[u8], netns: u64) -> Vec<u8> {
    let place = PLACE_OF_COOKIE.to_ne_bytes();
    let mut copy = object.to_vec();
    let found = copy.windows(place.len()).position(|bytes| bytes == place);
    if let Some(at) = found {
        copy[at..at + place.len()].copy_from_slice(&netns.to_ne_bytes());
    }
    copy
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

#[cfg(test)]
mod tests {
    use weir_common::names::PLACE_OF_COOKIE;

    use super::{LOOKUP, for_pod};

    #[test]
    fn the_lookup_has_one_place_for_the_cookie() {
        let place = PLACE_OF_COOKIE.to_ne_bytes();
        let places = |object: &[u8]| {
            object
                .windows(place.len())
                .filter(|bytes| *bytes == place)
                .count()
        };
        assert_eq!(places(LOOKUP), 1);
        assert_eq!(places(&for_pod(LOOKUP, 7)), 0);
    }
}
