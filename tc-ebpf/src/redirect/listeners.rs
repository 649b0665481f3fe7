//! ztunnel's listeners, kept once they are found: to search the kernel's tables of sockets for one takes many times as
//! long. One that is closed leaves the map by itself.

use core::ptr::from_ref;

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::btf_maps::SockMap;
use aya_ebpf::helpers::generated::bpf_map_update_elem;
use aya_ebpf::macros::btf_map;
use weir_common::ports;
use weir_ebpf_shared::listeners;
use weir_tc_ebpf::packet::Packet;
use weir_tc_ebpf::parse::{Segment, Version};
use weir_tc_ebpf::socket;

const PORTS: u32 = 3;
const VERSIONS: u32 = 2;

#[btf_map(name = "weir_found")]
static FOUND: SockMap<{ (VERSIONS * PORTS) as usize }> = SockMap::new();

/// Replaces whatever is kept there.
const ANY: u64 = 0;

/// Offers ztunnel's listener on `port` to `take` for what the segment asks for; says whether it took it. As all ztunnels
/// share the map, the one that is kept may be of another netns, which `take` has to refuse: then ztunnel is being
/// replaced, and the new one's takes its place.
#[inline(always)]
pub fn offer(packet: &Packet, segment: &Segment, port: u16, take: impl Fn(*mut bpf_sock) -> bool) -> bool {
    let place = place(segment.network.1, port);
    let is_taken = listeners::offer_one(&FOUND, &place, |kept| {
        let kept: *mut bpf_sock = kept.cast();
        // SAFETY: the socket is held.
        let listens = unsafe { (*kept).state } == socket::LISTEN;
        listens && take(kept)
    });
    let find = || {
        socket::with_listener(packet, segment, port, |found| {
            let is_taken = take(found);
            if is_taken {
                keep(place, found);
            }
            is_taken
        })
    };
    is_taken || find() == Some(true)
}

/// Each IP version has places of its own: a socket of IPv4 must not be given packets of IPv6.
#[inline(always)]
const fn place(version: Version, port: u16) -> u32 {
    let port = match port {
        ports::OUTBOUND => 0,
        ports::INBOUND => 1,
        _ => 2,
    };
    match version {
        Version::V4 => port,
        Version::V6 => PORTS + port,
    }
}

/// A failure costs the next connection a search.
#[inline(always)]
fn keep(place: u32, listener: *mut bpf_sock) {
    let found = from_ref(&FOUND).cast_mut().cast();
    // SAFETY: the key is a live value of the map's key type, and the socket is held by the caller.
    unsafe { bpf_map_update_elem(found, from_ref(&place).cast(), listener.cast(), ANY) };
}
