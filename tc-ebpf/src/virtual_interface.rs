//! Ingress of an interface inside a pod behind which virtual machines are: turns their TCP connections to this netns,
//! where the lookup of listeners hands them to ztunnel.
//!
//! A mark, which a rule for this interface leads to local delivery, does it all: the kernel then finds sockets its own
//! way, in the states in which assigning one here would go wrong too (closing connections whose port is used again).

use aya_ebpf::helpers::generated::bpf_tcp_check_syncookie;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::mark;
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::{listeners, maps, place};
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Link, Segment, Version};
use weir_tc_ebpf::socket;

/// For interfaces with Ethernet headers.
#[classifier]
pub fn weir_virtual(context: TcContext) -> i32 {
    turn(&Packet::new(context), Link::Ethernet).code()
}

/// For interfaces without.
#[classifier]
pub fn weir_virtual_ip(context: TcContext) -> i32 {
    turn(&Packet::new(context), Link::Ip).code()
}

#[inline(always)]
fn turn(packet: &Packet, link: Link) -> Verdict {
    let Some(segment) = parse::segment(packet, link) else {
        return Verdict::GoOn;
    };
    let netns = crate::netns();
    let Some(pod) = maps::pod(netns).filter(|pod| pod.has(PodEntry::CAPTURING)) else {
        return Verdict::GoOn;
    };
    let ours = if segment.opens() {
        is_captured(netns, pod, &segment)
    } else {
        has_socket(packet, &segment) || (segment.acknowledges() && answers_cookie(packet, netns, &segment))
    };
    if ours {
        packet.set_our_mark(mark::VIRTUAL);
    }
    Verdict::GoOn
}

#[inline(always)]
fn is_captured(netns: u64, pod: PodEntry, segment: &Segment) -> bool {
    let exemption = place::virtual_exemption(netns, pod, segment.destination, segment.destination_port);
    account(&segment.connection(netns), exemption.unwrap_or(Reason::Outbound));
    exemption.is_none()
}

/// Whether a socket here is the segment's other end. A listener is not: it is the application's, or found by chance.
#[inline(always)]
fn has_socket(packet: &Packet, segment: &Segment) -> bool {
    socket::state(packet, segment).is_some_and(|state| state != socket::LISTEN)
}

/// Under a flood ztunnel's listener keeps no state of a connection until this segment.
#[inline(always)]
fn answers_cookie(packet: &Packet, netns: u64, segment: &Segment) -> bool {
    let Some(tcp) = packet.load::<[u32; 5]>(segment.transport) else {
        return false;
    };
    let (offset, version) = segment.network;
    match version {
        Version::V4 => packet
            .load::<[u32; 5]>(offset)
            .is_some_and(|ip| is_cookie(netns, &ip, &tcp)),
        Version::V6 => packet
            .load::<[u32; 10]>(offset)
            .is_some_and(|ip| is_cookie(netns, &ip, &tcp)),
    }
}

#[inline(always)]
fn is_cookie<const WORDS: usize>(netns: u64, ip: &[u32; WORDS], tcp: &[u32; 5]) -> bool {
    listeners::offer(netns, ports::OUTBOUND, |listener| {
        // SAFETY: the listener is held by the caller, both headers are live copies of the sizes given.
        unsafe {
            bpf_tcp_check_syncookie(
                listener,
                ip.as_ptr().cast_mut().cast(),
                size_of_val(ip) as u32,
                tcp.as_ptr().cast_mut().cast(),
                size_of_val(tcp) as u32,
            ) == 0
        }
    })
}
