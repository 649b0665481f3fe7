//! ztunnel's listeners in a pod, the newest first.

use core::ffi::c_void;
use core::ptr::from_ref;

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
        let key = ListenerKey { netns, port, slot };
        if offer_one(&LISTENERS, &key, &take) {
            return true;
        }
        age += 1;
    }
    false
}

/// Offers the socket that a map of sockets has under this key to `take`; says whether it took it.
#[inline(always)]
pub fn offer_one<M, K>(sockets: &'static M, key: &K, take: impl FnOnce(*mut c_void) -> bool) -> bool {
    // SAFETY: both are live, and the verifier checks that they are a map and of the size of its keys.
    let socket = unsafe { bpf_map_lookup_elem(from_ref(sockets).cast_mut().cast(), from_ref(key).cast()) };
    if socket.is_null() {
        return false;
    }
    let taken = take(socket);
    // SAFETY: the map returned a socket that is held until it is released here, once.
    unsafe { bpf_sk_release(socket) };
    taken
}
