//! Arrival from a pod, at the host's end of its interface: its TCP goes to ztunnel.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::mark;
use weir_common::tag::Direction;
use weir_tc_ebpf::packet::{Packet, Verdict};

use crate::hand_over::Way;
use crate::outbound;

/// The program.
#[classifier]
pub fn weir_pod_out(context: TcContext) -> i32 {
    judge(&Packet::in_place(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    // What a pod sends carries no mark: the kernel takes them off at the border of its netns.
    if packet.our_mark() == mark::BYPASS {
        packet.set_our_mark(0);
        return Verdict::GoOn;
    }
    outbound::judge(packet, Way::Host(Direction::Outbound))
}
