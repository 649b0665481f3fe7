//! `connect()` in a pod: turns the connection to ztunnel's address and notes where it was going.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use weir_common::address::Address;
use weir_common::detour::Detour;
use weir_common::flow::SocketNote;
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::maps::{is_own, pod};
use weir_ebpf_shared::place::{self, Place};
use weir_sockops_ebpf::call::{Answer, Call, Family};
use weir_sockops_ebpf::socket::unbind_from_device;

use crate::maps::detour;

#[cgroup_sock_addr(connect4)]
pub fn weir_detour4(context: SockAddrContext) -> i32 {
    connect(&Call::new(context, Family::V4)).code()
}

#[cgroup_sock_addr(connect6)]
pub fn weir_detour6(context: SockAddrContext) -> i32 {
    connect(&Call::new(context, Family::V6)).code()
}

#[inline(always)]
fn connect(call: &Call) -> Answer {
    let netns = call.netns();
    let Some(detour) = detour(netns).filter(|_| call.is_tcp()) else {
        return Answer::Allow;
    };
    // Before the address is replaced.
    let asked = call.connection(netns);
    let (reason, answer) = decide(call, netns, &detour);
    call.account(&asked, reason);
    answer
}

#[inline(always)]
fn decide(call: &Call, netns: u64, detour: &Detour) -> (Reason, Answer) {
    let (address, port) = (call.address(), call.port());
    match place::of(address, || is_own(netns, address)) {
        Place::Own(reason) | Place::Uncaptured(reason) => (reason, Answer::Allow),
        Place::World => match exemption(netns, address, port) {
            Some(reason) => {
                // Without memory for the note the guard takes the connection for a leak.
                note(call, SocketNote::EXCLUDED);
                (reason, Answer::Allow)
            }
            None => turn(call, detour),
        },
    }
}

/// Why a connection to elsewhere does not make the detour.
#[inline(always)]
pub fn exemption(netns: u64, address: Address, port: u16) -> Option<Reason> {
    let pod = entry(netns);
    let open = pod.has(PodEntry::OPEN).then_some(Reason::FailOpen);
    place::outbound_exclusion(netns, pod, address, port).or(open)
}

/// The pod's annotations; without an entry there are none.
#[inline(always)]
fn entry(netns: u64) -> PodEntry {
    pod(netns).unwrap_or(PodEntry { flags: 0, sysctls: 0 })
}

#[inline(always)]
fn turn(call: &Call, detour: &Detour) -> (Reason, Answer) {
    let Some(ztunnel) = detour.like(call.address()) else {
        let reason = if detour.leads_nowhere() {
            Reason::NoZtunnel
        } else {
            Reason::NoDetour
        };
        return (reason, Answer::Refuse);
    };
    // SAFETY: the kernel guarantees a socket in this hook.
    let device = unsafe { (*call.socket()).bound_dev_if };
    // ztunnel may be behind another device, and makes the real connection anyway.
    if device != 0 && !unbind_from_device(call.helper_context()) {
        return (Reason::BoundDevice, Answer::Refuse);
    }
    if !note(call, SocketNote::DETOURED) {
        return (Reason::Unnoted, Answer::Refuse);
    }
    call.set_address(ztunnel);
    call.set_port(ports::OUTBOUND);
    (Reason::Detoured, Answer::Allow)
}

#[inline(always)]
fn note(call: &Call, kind: u32) -> bool {
    call.set_note(SocketNote {
        kind,
        port: u32::from(call.port()),
        address: call.address(),
        netns: 0,
    })
}
