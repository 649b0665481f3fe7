//! Departure from the node by the parent of macvlan interfaces: what is for ztunnel never gets here, unless ztunnel's
//! own interface is down or gone.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::reason::Reason;
use weir_common::tag;
use weir_common::ztunnel::SLOTS;
use weir_ebpf_shared::account::count;
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Link};

use crate::maps;

const ETHERNET_SOURCE: u32 = 6;
/// Whoever sent it is no pod that we know.
const NOBODY: u64 = 0;

/// The program.
#[classifier]
pub fn weir_steer_fence(context: TcContext) -> i32 {
    judge(&Packet::in_place(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    let (Some(destination), Some(source)) = (packet.header(0), packet.header(ETHERNET_SOURCE)) else {
        return Verdict::GoOn;
    };
    if !tag::is_any(source) && !is_ztunnels(destination) {
        return Verdict::GoOn;
    }
    count(sender(packet), Reason::Fenced);
    Verdict::Drop
}

#[inline(always)]
fn is_ztunnels(address: [u8; 6]) -> bool {
    let mut slot = 0;
    while slot < SLOTS {
        if maps::ztunnel_at(slot).is_some_and(|place| place.steered == address) {
            return true;
        }
        slot += 1;
    }
    false
}

#[inline(always)]
fn sender(packet: &Packet) -> u64 {
    parse::datagram(packet, Link::Ethernet)
        .and_then(|datagram| maps::local_pod(datagram.source, maps::era()))
        .map_or(NOBODY, |pod| pod.netns)
}
