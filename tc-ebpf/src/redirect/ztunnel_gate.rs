//! Departure to ztunnel, at the host's end of its interface: nothing gets through that only looks redirected.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::mark;
use weir_common::reason::Reason;
use weir_common::tag;
use weir_ebpf_shared::account::count;
use weir_tc_ebpf::packet::{Packet, Verdict};

const ETHERNET_SOURCE: u32 = 6;
/// Whoever sent it is no pod that we know.
const NOBODY: u64 = 0;

/// The program.
#[classifier]
pub fn weir_ztunnel_gate(context: TcContext) -> i32 {
    judge(&Packet::in_place(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    if packet.our_mark() == mark::TAGGED || !packet.header(ETHERNET_SOURCE).is_some_and(tag::is_any) {
        return Verdict::GoOn;
    }
    count(NOBODY, Reason::ForgedTag);
    Verdict::Drop
}
