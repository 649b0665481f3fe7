//! DNS capture: queries go to ztunnel on loopback, and answers look as if they came from the server that was asked.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use weir_common::address::Address;
use weir_common::flow::SocketNote;
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::place::{self, Place};
use weir_ebpf_shared::pod::Pod;
use weir_sockops_ebpf::call::{Answer, Call, Family};

use crate::{device, ztunnel};

#[cgroup_sock_addr(sendmsg4)]
pub fn weir_sendmsg4(context: SockAddrContext) -> i32 {
    send(&Call::new(context, Family::V4)).code()
}

#[cgroup_sock_addr(sendmsg6)]
pub fn weir_sendmsg6(context: SockAddrContext) -> i32 {
    send(&Call::new(context, Family::V6)).code()
}

#[cgroup_sock_addr(recvmsg4)]
pub fn weir_recvmsg4(context: SockAddrContext) -> i32 {
    restore(&Call::new(context, Family::V4)).code()
}

#[cgroup_sock_addr(recvmsg6)]
pub fn weir_recvmsg6(context: SockAddrContext) -> i32 {
    restore(&Call::new(context, Family::V6)).code()
}

#[cgroup_sock_addr(getpeername4)]
pub fn weir_peername4(context: SockAddrContext) -> i32 {
    restore(&Call::new(context, Family::V4)).code()
}

#[cgroup_sock_addr(getpeername6)]
pub fn weir_peername6(context: SockAddrContext) -> i32 {
    restore(&Call::new(context, Family::V6)).code()
}

#[inline(always)]
fn send(call: &Call) -> Answer {
    if call.port() != ports::DNS {
        return Answer::Allow;
    }
    let netns = call.netns();
    match Pod::of(netns) {
        Some(pod) if pod.has(PodEntry::CAPTURING) && call.is_udp() => ask(call, &pod, turn_datagram),
        _ => Answer::Allow,
    }
}

/// A UDP connect of an enrolled pod.
#[inline(always)]
pub fn query(call: &Call, pod: &Pod) -> Answer {
    ask(call, pod, |call| turn_to_ztunnel(call, Reason::DnsUdp))
}

/// A UDP connect or datagram of an enrolled pod, which `turn` sends to ztunnel if it is a query to the world.
#[inline(always)]
fn ask(call: &Call, pod: &Pod, turn: impl FnOnce(&Call) -> (Reason, Answer)) -> Answer {
    if call.port() != ports::DNS || !pod.has(PodEntry::DNS) || ztunnel::calls(call) {
        return Answer::Allow;
    }
    let address = call.address();
    let Place::World = place::of(address, || pod.is_own(address)) else {
        return Answer::Allow;
    };
    // Before the address is replaced.
    let asked = call.connection(pod.netns);
    let (reason, answer) = turn(call);
    call.account(&asked, reason);
    answer
}

/// By which device a datagram leaves the kernel has noted before it asks: whoever is bound to one has to send it again.
#[inline(always)]
fn turn_datagram(call: &Call) -> (Reason, Answer) {
    let is_late = device::binds(call);
    let turned = turn_to_ztunnel(call, Reason::DnsUdp);
    if is_late {
        (Reason::BoundDevice, Answer::Refuse)
    } else {
        turned
    }
}

/// Sends the call to ztunnel's DNS port for `reason`, and notes on the socket where it was meant to go.
#[inline(always)]
pub fn turn_to_ztunnel(call: &Call, reason: Reason) -> (Reason, Answer) {
    if !device::release(call) {
        return (Reason::BoundDevice, Answer::Refuse);
    }
    let address = call.address();
    let note = SocketNote {
        kind: SocketNote::DNS,
        port: u32::from(call.port()),
        address,
        netns: 0,
    };
    // Without memory for the note the answer would come from an address that the resolver did not ask, and the world
    // must not see the query.
    if !call.set_note(note) {
        return (Reason::Unnoted, Answer::Refuse);
    }
    call.set_address(if address.as_v4().is_some() {
        Address::LOOPBACK_V4
    } else {
        Address::LOOPBACK_V6
    });
    call.set_port(ports::DNS_CAPTURE);
    (reason, Answer::Allow)
}

/// Puts back what the application asked for where the kernel would show ztunnel's DNS port.
#[inline(always)]
fn restore(call: &Call) -> Answer {
    if call.port() == ports::DNS_CAPTURE
        && call.address().is_loopback()
        && let Some(note) = call.note()
        && note.kind == SocketNote::DNS
    {
        #[expect(clippy::cast_possible_truncation, reason = "it was a port when it was noted")]
        call.set_port(note.port as u16);
        call.set_address(note.address);
    }
    Answer::Allow
}
