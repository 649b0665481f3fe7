//! Departure to a pod, at the host's end of its interface: TCP goes to ztunnel first, and so do complaints about what
//! ztunnel has sent in the pod's name.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::tag::Direction;
use weir_tc_ebpf::packet::{Packet, Verdict};

use crate::hand_over::Way;
use crate::{inbound, maps};

/// The program.
#[classifier]
pub fn weir_pod_in(context: TcContext) -> i32 {
    judge(&Packet::new(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    match maps::pod_behind(packet.interface()) {
        Some(netns) => inbound::judge(packet, netns, Way::Host(Direction::Inbound)),
        None => Verdict::GoOn,
    }
}
