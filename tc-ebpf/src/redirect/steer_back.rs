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

use crate::ztunnel_out::is_to_itself;
use crate::{flow, maps};

const ETHERNET_SOURCE: u32 = 6;

/// The program.
#[classifier]
pub fn weir_steer_back(context: TcContext) -> i32 {
    judge(&Packet::in_place(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    let Some(datagram) = parse::datagram(packet, Link::Ethernet).filter(Datagram::is_tcp) else {
        return Verdict::GoOn;
    };
    let Some(own) = packet.header(ETHERNET_SOURCE) else {
        return Verdict::GoOn;
    };
    let segment = datagram.segment(packet);
    let era = maps::era();
    match (maps::local_pod(datagram.destination, era), segment) {
        (Some(pod), Some(segment)) if is_to_itself(&segment, era) => turn_back(packet, own, &pod, &segment),
        (Some(pod), segment) if pod.has(LocalPod::STEERED) => enter(packet, own, &pod, (segment, era)),
        (None, Some(segment)) if segment.opens() => speak(own, &segment, era),
        _ => Verdict::GoOn,
    }
}

/// It leaves and comes back.
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
fn enter(packet: &Packet, own: [u8; 6], pod: &LocalPod, (segment, era): (Option<Segment>, u64)) -> Verdict {
    if !packet.address_frame(pod.mac, tag::of(Direction::Served, maps::contract().secret)) {
        return Verdict::Drop;
    }
    if let Some(segment) = segment.filter(Segment::opens) {
        flow::make(&flow::to_pod(&segment), pod, slot_of(own), era);
        account(&segment.connection(pod.netns), Reason::ToApplication);
    }
    Verdict::GoOn
}

/// In a pod's name: the answers come to the pod.
#[inline(always)]
fn speak(own: [u8; 6], segment: &Segment, era: u64) -> Verdict {
    if let Some(pod) = maps::local_pod(segment.source, era) {
        flow::make(&flow::from_pod(segment), &pod, slot_of(own), era);
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
