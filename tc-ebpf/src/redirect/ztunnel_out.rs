//! Arrival from ztunnel, at the host's end of its interface: what it sends to a pod of this node goes straight in, what
//! it sends in a pod's name goes on from that pod's own interface.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::local_pod::LocalPod;
use weir_common::mark;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_common::tag::{self, Direction};
use weir_ebpf_shared::account::account;
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Link, Segment};

use crate::{flow, hand_over, maps};

const ETHERNET_SOURCE: u32 = 6;

/// The program.
#[classifier]
pub fn weir_ztunnel_out(context: TcContext) -> i32 {
    judge(&Packet::in_place(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    let Some(segment) = parse::segment(packet, Link::Ethernet) else {
        return Verdict::GoOn;
    };
    let era = maps::era();
    match maps::local_pod(segment.destination, era) {
        Some(pod) if is_to_itself(&segment, era) => turn_back(packet, &pod, &segment),
        Some(pod) if pod.interface != 0 => enter(packet, &pod, &segment, era),
        Some(_) => Verdict::GoOn,
        None => match maps::local_pod(segment.source, era) {
            Some(pod) if pod.interface != 0 => speak_for(packet, &pod, &segment, era),
            _ => Verdict::GoOn,
        },
    }
}

/// Whether a segment for a pod of this node belongs to a tunnel whose both ends are ztunnel's: between two such pods, or
/// from ztunnel's own address, where it speaks in nobody's name. What it answers to that address stays in its netns.
#[inline(always)]
pub fn is_to_itself(segment: &Segment, era: u64) -> bool {
    let is_asked = segment.destination_port == ports::HBONE;
    if !is_asked && segment.source_port != ports::HBONE {
        return false;
    }
    maps::local(segment.source, era).is_some_and(|source| is_asked || !source.has(LocalPod::ZTUNNEL))
}

/// It leaves and comes back.
#[inline(always)]
fn turn_back(packet: &Packet, pod: &LocalPod, segment: &Segment) -> Verdict {
    let Some(own) = packet.header::<[u8; 6]>(ETHERNET_SOURCE) else {
        return Verdict::Drop;
    };
    if !packet.address_frame(own, tag::of(Direction::Inbound, maps::contract().secret)) {
        return Verdict::Drop;
    }
    if segment.opens() {
        account(&segment.connection(pod.netns), Reason::Hairpin);
    }
    hand_over::leave(packet, packet.interface())
}

/// The pod's answers have to find back to this ztunnel.
#[inline(always)]
fn enter(packet: &Packet, pod: &LocalPod, segment: &Segment, era: u64) -> Verdict {
    if !packet.address_frame(pod.mac, pod.gateway) {
        return Verdict::Drop;
    }
    if segment.opens() {
        let slot = flow::slot_of(packet.interface());
        flow::make(&flow::to_pod(segment), pod, slot, era);
        account(&segment.connection(pod.netns), Reason::ToApplication);
    }
    packet.enter_behind(pod.interface)
}

/// From the pod's own interface on, everything that checks or counts the pod's traffic sees it as the pod's.
#[inline(always)]
fn speak_for(packet: &Packet, pod: &LocalPod, segment: &Segment, era: u64) -> Verdict {
    let next = if pod.has(LocalPod::ON_ZTUNNELS_BRIDGE) {
        packet.header::<[u8; 6]>(0).unwrap_or(pod.gateway)
    } else {
        pod.gateway
    };
    if !packet.address_frame(next, pod.mac) {
        return Verdict::Drop;
    }
    if segment.opens() {
        let slot = flow::slot_of(packet.interface());
        flow::make(&flow::from_pod(segment), pod, slot, era);
        account(&segment.connection(pod.netns), Reason::FromZtunnel);
    }
    packet.set_our_mark(mark::BYPASS);
    packet.arrive_at(pod.interface)
}
