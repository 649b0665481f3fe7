//! Arrival at a pod's own interface: TCP that does not come from ztunnel goes to ztunnel first.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::reason::Reason;
use weir_common::tag::{self, Direction};
use weir_ebpf_shared::account::count;
use weir_tc_ebpf::packet::{Packet, Verdict};

use crate::hand_over::Way;
use crate::{inbound, maps};

const ETHERNET_SOURCE: u32 = 6;

/// The program.
#[classifier]
pub fn weir_steer_in(context: TcContext) -> i32 {
    judge(&Packet::in_place(context)).code()
}

/// ztunnel's Ethernet address would prove nothing: everybody on the LAN knows it and may send from it.
#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    match packet.header(ETHERNET_SOURCE) {
        Some(source) if tag::is_any(source) => tagged(source),
        _ => inbound::judge(packet, Way::Frame(Direction::Inbound)),
    }
}

#[inline(always)]
fn tagged(source: [u8; 6]) -> Verdict {
    if tag::read(source, maps::contract().secret) == Some(Direction::Served) {
        return Verdict::GoOn;
    }
    count(crate::netns(), Reason::ForgedTag);
    Verdict::Drop
}
