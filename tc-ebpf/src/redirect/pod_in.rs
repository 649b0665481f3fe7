//! Departure to a pod, at the host's end of its interface: TCP goes to ztunnel first, and so do complaints about what
//! ztunnel has sent in the pod's name.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::tag::Direction;
use weir_tc_ebpf::packet::Packet;

use crate::hand_over::Way;
use crate::inbound;

/// The program.
#[classifier]
pub fn weir_pod_in(context: TcContext) -> i32 {
    inbound::judge(&Packet::in_place(context), Way::Host(Direction::Inbound)).code()
}
