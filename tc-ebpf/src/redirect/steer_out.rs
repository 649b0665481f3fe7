//! Departure from a pod by its own interface: its TCP goes to ztunnel, as does what `steer_in` sends on.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::local_pod::LocalPod;
use weir_common::reason::Reason;
use weir_common::tag::{self, Direction};
use weir_ebpf_shared::account::count;
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Link};

use crate::hand_over::Way;
use crate::{maps, outbound};

const ETHERNET_SOURCE: u32 = 6;

/// The program.
#[classifier]
pub fn weir_steer_out(context: TcContext) -> i32 {
    judge(&Packet::in_place(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    match packet.header(ETHERNET_SOURCE) {
        Some(source) if tag::is_any(source) => sent_on(packet, source),
        Some(source) => match outbound::judge(packet, Way::Frame(Direction::Outbound)) {
            Verdict::GoOn if packet.header(ETHERNET_SOURCE) == Some(source) => pass(packet, source),
            verdict => verdict,
        },
        None => Verdict::GoOn,
    }
}

/// What is not captured. If it is for ztunnel itself, as connections that were turned to it are, it goes nowhere else,
/// whatever ARP says.
#[inline(always)]
fn pass(packet: &Packet, source: [u8; 6]) -> Verdict {
    let ztunnel = parse::datagram(packet, Link::Ethernet)
        .and_then(|datagram| maps::local(datagram.destination, maps::era()))
        .filter(|local| local.has(LocalPod::ZTUNNEL) && local.has(LocalPod::STEERED));
    if ztunnel.is_none_or(|ztunnel| packet.address_frame(ztunnel.mac, source)) {
        Verdict::GoOn
    } else {
        Verdict::Drop
    }
}

/// What `steer_in` sends on has come in by an interface, and is for this pod. Whoever in the pod has learnt the tag can
/// forge neither for another.
#[inline(always)]
fn sent_on(packet: &Packet, source: [u8; 6]) -> Verdict {
    let netns = crate::netns();
    let is_ours = packet.is_forwarded()
        && tag::read(source, maps::contract().secret) == Some(Direction::Inbound)
        && parse::datagram(packet, Link::Ethernet)
            .and_then(|datagram| maps::local_pod(datagram.destination, maps::era()))
            .is_some_and(|pod| pod.netns == netns);
    if is_ours {
        return Verdict::GoOn;
    }
    count(netns, Reason::ForgedTag);
    Verdict::Drop
}
