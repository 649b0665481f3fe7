//! The eBPF objects, built with the agent and embedded in it.

use std::sync::{Mutex, PoisonError};

use aya::{Ebpf, EbpfLoader};
use weir_common::names::map;
use weir_common::pod::COOKIE_PLACEHOLDER;

use super::{DatapathError, Pins, Sizes};

/// Programs for the cgroup socket hooks.
pub static SOCKOPS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-sockops"));
/// The lookup of listeners, loaded once per pod.
pub static LOOKUP: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-lookup"));
/// The socket path of the node contract.
pub static DETOUR: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-detour"));
/// Programs for the traffic control hook.
pub static TC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-tc"));
/// Programs between pods and a ztunnel that has a netns of its own.
pub static REDIRECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-redirect"));

/// All of them.
pub(super) static ALL: [&[u8]; 5] = [SOCKOPS, LOOKUP, DETOUR, TC, REDIRECT];

/// Loads objects, one at a time. It is kept, because to make one is to read all types of the kernel: tens of
/// milliseconds and megabytes, which every pod would pay anew.
#[derive(Debug)]
pub(super) struct Loader(Mutex<EbpfLoader<'static>>);

impl Loader {
    /// A loader whose maps are the pinned ones: adopted where they exist, made and pinned where they do not.
    pub(super) fn new(pins: &Pins, sizes: &Sizes) -> Self {
        let mut loader = EbpfLoader::new();
        // Nothing is relocated against the kernel's types.
        loader.btf(None);
        for name in map::ALL
            .into_iter()
            .chain(map::OF_DETOURS)
            .chain(map::OF_REDIRECT)
        {
            loader.map_pin_path(name, pins.map(name));
        }
        for (name, size) in sizes.by_map() {
            loader.map_max_entries(name, size);
        }
        Self(Mutex::new(loader))
    }

    /// Loads an object.
    pub(super) fn load(&self, object: &[u8]) -> Result<Ebpf, DatapathError> {
        // A panic while loading leaves the settings as they were.
        let mut loader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(loader.load(object)?)
    }

    /// Loads an object that has the pod's netns cookie in it.
    pub(super) fn load_for_pod(&self, object: &[u8], netns: u64) -> Result<Ebpf, DatapathError> {
        self.load(&with_cookie(object, netns)?)
    }
}

/// The object with the cookie where its placeholder is. (The loader's own way to set a constant wants the value to
/// live as long as the loader.)
fn with_cookie(object: &[u8], netns: u64) -> Result<Vec<u8>, DatapathError> {
    let placeholder = COOKIE_PLACEHOLDER.to_ne_bytes();
    let place = object
        .windows(placeholder.len())
        .position(|bytes| bytes == placeholder)
        .ok_or(DatapathError::NoPlaceForCookie)?;
    let mut object = object.to_vec();
    object[place..place + placeholder.len()].copy_from_slice(&netns.to_ne_bytes());
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::{COOKIE_PLACEHOLDER, LOOKUP, REDIRECT, TC, with_cookie};

    #[test]
    fn the_objects_of_pods_have_one_place_for_the_cookie() {
        for object in [LOOKUP, TC, REDIRECT] {
            let changed = with_cookie(object, 7).unwrap();
            assert_eq!(changed.len(), object.len());
            assert!(with_cookie(&changed, 7).is_err(), "there is a second place");
        }
        assert!(with_cookie(&COOKIE_PLACEHOLDER.to_ne_bytes()[..7], 7).is_err());
    }
}
