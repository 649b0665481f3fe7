//! `getpeername()` in a pod: the application is shown whom it asked for, not ztunnel.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use weir_common::flow::SocketNote;
use weir_common::ports;
use weir_sockops_ebpf::call::{Answer, Call, Family};

#[cgroup_sock_addr(getpeername4)]
pub fn weir_shown4(context: SockAddrContext) -> i32 {
    show(&Call::new(context, Family::V4)).code()
}

#[cgroup_sock_addr(getpeername6)]
pub fn weir_shown6(context: SockAddrContext) -> i32 {
    show(&Call::new(context, Family::V6)).code()
}

#[inline(always)]
fn show(call: &Call) -> Answer {
    if call.port() == ports::OUTBOUND
        && let Some(note) = call.note()
        && note.kind == SocketNote::DETOURED
    {
        #[expect(clippy::cast_possible_truncation, reason = "it was a port when it was noted")]
        call.set_port(note.port as u16);
        call.set_address(note.address);
    }
    Answer::Allow
}
