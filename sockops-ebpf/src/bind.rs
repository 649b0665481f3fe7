//! `bind()`: keeps captured connections and the application's listeners out of each other's way, and chooses the
//! client port of ztunnel's connections to the application.

use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use weir_common::flow::SocketNote;
use weir_common::given_ports::{self, ABOVE, BELOW, STRIDE};
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::pod::Pod;
use weir_sockops_ebpf::call::{Answer, Call, Family};
use weir_sockops_ebpf::client_port::Client;
use weir_sockops_ebpf::socket::allow_address_reuse;

use crate::{listener, ztunnel};

/// Ports tried before the kernel is left to choose, and how many of the tries are for ports above clients'.
const TRIES: u32 = 64;
const TRIES_ABOVE: u32 = 32;

#[cgroup_sock_addr(bind4)]
pub fn weir_bind4(context: SockAddrContext) -> i32 {
    bind(&Call::new(context, Family::V4)).code()
}

#[cgroup_sock_addr(bind6)]
pub fn weir_bind6(context: SockAddrContext) -> i32 {
    bind(&Call::new(context, Family::V6)).code()
}

#[inline(always)]
fn bind(call: &Call) -> Answer {
    let netns = call.netns();
    if let Some(pod) = Pod::of(netns).filter(|_| call.is_tcp()) {
        if ports::takes_captured(call.port()) && ztunnel::calls(call) {
            know_listener(call);
        }
        if pod.has(PodEntry::SERVED) {
            enrolled(call, &pod);
        }
    }
    Answer::Allow
}

/// Here the process is known; where the socket begins to listen only its mark is. Without memory for the note the
/// agent hands the listener over.
#[inline(always)]
fn know_listener(call: &Call) {
    call.set_note(SocketNote {
        kind: SocketNote::ZTUNNEL,
        port: u32::from(call.port()),
        address: call.address(),
        netns: 0,
    });
}

#[inline(always)]
fn enrolled(call: &Call, pod: &Pod) {
    if call.port() != 0 {
        // Captured connections hold the application's port; without this it could not listen again after a restart.
        reuse(call, pod.netns);
    } else if ztunnel::calls(call) && !pod.is_own(call.address()) {
        reuse(call, pod.netns);
        match claim_port(call, pod) {
            Some(port) => call.set_port(port),
            None => account(&call.connection(pod.netns), Reason::PortUnclaimed),
        }
    }
}

/// Lets others bind the socket's port, if they allow the same.
#[inline(always)]
pub fn reuse(call: &Call, netns: u64) {
    if !allow_address_reuse(call.helper_context()) {
        account(&call.connection(netns), Reason::ReuseRefused);
    }
}

/// Claims the next port in turn that no connection of this client uses and nothing listens on. In turn, so that a port
/// rests as long as possible before it is used again; the claim ends when the connection is closed.
#[inline(always)]
fn claim_port(call: &Call, pod: &Pod) -> Option<u16> {
    let client = Client::of(pod.netns, call.address());
    let cursor = client.cursor()?;
    let mut tries = 0;
    while tries < TRIES {
        // SAFETY: a live map value. Two CPUs may read the same turn; the seat tells them apart.
        let turn = unsafe {
            *cursor = (*cursor).wrapping_add(if tries == 0 { 1 } else { STRIDE });
            *cursor
        };
        let port = if pod.has(PodEntry::PORTS_REST) {
            given_ports::of_both(turn)
        } else if tries < TRIES_ABOVE {
            ABOVE.port(turn)
        } else {
            BELOW.port(turn)
        };
        if let Some(seat) = client.port(port)
            && seat.give()
        {
            if !listener::is_on(call, port) {
                return Some(port);
            }
            seat.give_back();
        }
        tries += 1;
    }
    None
}
