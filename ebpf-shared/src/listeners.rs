//! ztunnel's listeners in a pod, the newest first.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_map_lookup_elem, bpf_sk_release};
use weir_common::listener::{ListenerKey, PortKey, SLOTS};

use crate::maps::{LISTENERS, NEWEST};

/// Offers the pod's listeners on `port` to `take`, from the newest on, until it takes one; says whether it did.
#[inline(always)]
pub fn offer(netns: u64, port: u16, take: impl Fn(*mut c_void) -> bool) -> bool {
    let port = u32::from(port);
    let newest = PortKey {
        netns,
        port,
        reserved: 0,
    };
    // SAFETY: a live map value of four aligned bytes.
    let newest = NEWEST.get_ptr(newest).map_or(0, |slot| unsafe { *slot });
    let mut age = 0;
    while age < SLOTS {
        let slot = (newest + SLOTS - age) % SLOTS;
        if offer_one(&ListenerKey { netns, port, slot }, &take) {
            return true;
        }
        age += 1;
    }
    false
}

#[inline(always)]
fn offer_one(key: &ListenerKey, take: &impl Fn(*mut c_void) -> bool) -> bool {
    // SAFETY: the key is a live struct of the map's key type.
    let socket = unsafe {
        bpf_map_lookup_elem(
            (&raw const LISTENERS).cast_mut().cast(),
            core::ptr::from_ref(key).cast(),
        )
    };
    if socket.is_null() {
        return false;
    }
    let taken = take(socket);
    // SAFETY: the map returned a socket that is held until it is released here, once.
    unsafe { bpf_sk_release(socket) };
    taken
}
