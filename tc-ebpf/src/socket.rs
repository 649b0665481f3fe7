//! Sockets of the netns that the program runs in.

use core::ptr::addr_of;

use aya_ebpf::bindings::{BPF_TCP_SYN_SENT, bpf_sock, bpf_sock_tuple};
use aya_ebpf::helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp};

use crate::packet::Packet;
use crate::parse::{Segment, Version};

/// State of a connection that is over, and whose last packets are waited for.
pub const TIME_WAIT: u32 = 6;
/// State of a listener.
pub const LISTEN: u32 = 10;

const THIS_NETNS: u64 = u64::MAX;

/// The state of the socket, if there is one.
#[inline(always)]
pub fn state(packet: &Packet, segment: &Segment) -> Option<u32> {
    // SAFETY: the socket is checked and held.
    with(packet, segment, |socket| unsafe { (*socket).state })
}

/// Lends the socket, if there is one.
#[inline(always)]
pub fn with<T>(packet: &Packet, segment: &Segment, borrow: impl FnOnce(*mut bpf_sock) -> T) -> Option<T> {
    let socket = match segment.network.1 {
        Version::V4 => look_up(packet, &TupleV4::of(segment)),
        Version::V6 => look_up(packet, &TupleV6::of(segment)),
    };
    if socket.is_null() {
        return None;
    }
    let result = borrow(socket);
    // SAFETY: the socket is checked, and released here, once.
    unsafe { bpf_sk_release(socket.cast()) };
    Some(result)
}

/// Lends the listener on this port that would have what a segment asks for, if there is one.
#[inline(always)]
pub fn with_listener<T>(
    packet: &Packet,
    segment: &Segment,
    port: u16,
    borrow: impl FnOnce(*mut bpf_sock) -> T,
) -> Option<T> {
    with(packet, &segment.to_listener(port), borrow)
}

/// Whether the socket that sent a segment is of this netns: a packet may keep it on its way out of another.
#[inline(always)]
pub fn is_here(packet: &Packet, segment: &Segment, sender: *const bpf_sock) -> bool {
    let found = match segment.network.1 {
        Version::V4 => look_up(packet, &TupleV4::to(sender)),
        Version::V6 => look_up(packet, &TupleV6::to(sender)),
    };
    if found.is_null() {
        return false;
    }
    // SAFETY: the socket is checked and held until it is released here, once.
    unsafe {
        let asks = (*found).state == BPF_TCP_SYN_SENT;
        bpf_sk_release(found.cast());
        asks
    }
}

/// A field of a socket; the kernel allows only reads of whole fields.
macro_rules! read {
    ($socket:expr, $($field:tt)+) => {
        // SAFETY: the kernel checked the socket, and checks the offset.
        unsafe { addr_of!((*$socket).$($field)+).read_volatile() }
    };
}

/// The kernel's `bpf_sock_tuple` for IPv4.
#[repr(C)]
struct TupleV4 {
    addresses: [u32; 2],
    ports: [u16; 2],
}

/// The same for IPv6.
#[repr(C)]
struct TupleV6 {
    addresses: [[u32; 4]; 2],
    ports: [u16; 2],
}

impl TupleV4 {
    #[inline(always)]
    fn of(segment: &Segment) -> Self {
        Self {
            addresses: [segment.source.words[3], segment.destination.words[3]],
            ports: wire_ports(segment),
        }
    }

    /// Of what a socket's peer sends to it.
    #[inline(always)]
    fn to(socket: *const bpf_sock) -> Self {
        Self {
            addresses: [read!(socket, dst_ip4), read!(socket, src_ip4)],
            ports: ports_to(socket),
        }
    }
}

impl TupleV6 {
    #[inline(always)]
    fn of(segment: &Segment) -> Self {
        Self {
            addresses: [segment.source.words, segment.destination.words],
            ports: wire_ports(segment),
        }
    }

    /// Of what a socket's peer sends to it.
    #[inline(always)]
    fn to(socket: *const bpf_sock) -> Self {
        let peer = [
            read!(socket, dst_ip6[0]),
            read!(socket, dst_ip6[1]),
            read!(socket, dst_ip6[2]),
            read!(socket, dst_ip6[3]),
        ];
        let own = [
            read!(socket, src_ip6[0]),
            read!(socket, src_ip6[1]),
            read!(socket, src_ip6[2]),
            read!(socket, src_ip6[3]),
        ];
        Self {
            addresses: [peer, own],
            ports: ports_to(socket),
        }
    }
}

#[inline(always)]
fn ports_to(socket: *const bpf_sock) -> [u16; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "a port in host byte order")]
    let own = read!(socket, src_port) as u16;
    [read!(socket, dst_port), own.to_be()]
}

#[inline(always)]
fn wire_ports(segment: &Segment) -> [u16; 2] {
    [segment.source_port.to_be(), segment.destination_port.to_be()]
}

#[inline(always)]
fn look_up<T>(packet: &Packet, tuple: &T) -> *mut bpf_sock {
    let tuple: *const bpf_sock_tuple = core::ptr::from_ref(tuple).cast();
    // SAFETY: the kernel tells the family by the size, and reads just that much of a live tuple.
    unsafe {
        bpf_skc_lookup_tcp(
            packet.helper_context().cast(),
            tuple.cast_mut(),
            size_of::<T>() as u32,
            THIS_NETNS,
            0,
        )
    }
}
