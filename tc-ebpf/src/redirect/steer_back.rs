//! Departure from ztunnel by its interface beside the pods' own (macvlan), in its netns: what it sends to such a pod is
//! tagged, so that the pod can tell it from what others send, and is addressed to that pod whatever ARP says.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::local_pod::LocalPod;
use weir_common::reason::Reason;
use weir_common::tag::{self, Direction};
use weir_common::ztunnel::SLOTS;
use weir_ebpf_shared::account::account;
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Datagram, Link, Segment};

use crate::ztunnel_out::is_tunnel;
use crate::{flow, maps};

const ETHERNET_SOURCE: u32 = 6;

/// The program.
#[classifier]
pub fn weir_steer_back(context: TcContext) -> i32 {
    judge(&Packet::new(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    let Some(datagram) = parse::datagram(packet, Link::Ethernet).filter(Datagram::is_tcp) else {
        return Verdict::GoOn;
    };
    let Some(own) = packet.load(ETHERNET_SOURCE) else {
        return Verdict::GoOn;
    };
    let source = maps::local_pod(datagram.source);
    let destination = maps::local_pod(datagram.destination);
    let segment = datagram.segment(packet);
    match (source, destination, segment) {
        (Some(_), Some(pod), Some(segment)) if is_tunnel(&segment) => turn_back(packet, own, &pod, &segment),
        (_, Some(pod), segment) if pod.has(LocalPod::STEERED) => enter(packet, own, &pod, segment),
        (Some(pod), None, Some(segment)) => speak_for(own, &pod, &segment),
        _ => Verdict::GoOn,
    }
}

/// Both ends of a tunnel between two pods of this node are ztunnel's.
#[inline(always)]
fn turn_back(packet: &Packet, own: [u8; 6], pod: &LocalPod, segment: &Segment) -> Verdict {
    if !packet.address_frame(own, tag::of(Direction::Inbound, maps::contract().secret)) {
        return Verdict::Drop;
    }
    if segment.opens() {
        account(&segment.connection(pod.netns), Reason::Hairpin);
    }
    packet.arrive_at(packet.interface())
}

/// The pod's answers have to find back to this ztunnel.
#[inline(always)]
fn enter(packet: &Packet, own: [u8; 6], pod: &LocalPod, segment: Option<Segment>) -> Verdict {
    if !packet.address_frame(pod.mac, tag::of(Direction::Served, maps::contract().secret)) {
        return Verdict::Drop;
    }
    if let Some(segment) = segment.filter(Segment::opens) {
        flow::capture(&flow::to_pod(pod.netns, &segment), slot_of(own));
        account(&segment.connection(pod.netns), Reason::ToApplication);
    }
    Verdict::GoOn
}

/// The answers come to the pod.
#[inline(always)]
fn speak_for(own: [u8; 6], pod: &LocalPod, segment: &Segment) -> Verdict {
    if segment.opens() {
        flow::capture(&flow::from_pod(pod.netns, segment), slot_of(own));
        account(&segment.connection(pod.netns), Reason::FromZtunnel);
    }
    Verdict::GoOn
}

/// Slot of the ztunnel whose interface has this Ethernet address.
#[inline(always)]
fn slot_of(own: [u8; 6]) -> u32 {
    let mut slot = 0;
    while slot < SLOTS {
        if maps::ztunnel_at(slot).is_some_and(|place| place.steered == own) {
            break;
        }
        slot += 1;
    }
    slot
}
