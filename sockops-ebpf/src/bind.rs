//! `bind()`: keeps captured connections and the application's listeners out of each other's way, and chooses the
//! client port of ztunnel's connections to the application.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use weir_common::address::{Address, OwnAddress};
use weir_common::flow::ClientPort;
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_sockops_ebpf::account::account;
use weir_sockops_ebpf::call::{Answer, Call, Family};
use weir_sockops_ebpf::maps::{self, CLIENT_PORTS, PORT_CURSORS};
use weir_sockops_ebpf::socket::allow_address_reuse;

use crate::ztunnel;

/// Client ports are chosen from the upper half of what exists: services listen below.
const FIRST_PORT: u32 = 32768;
const PORTS: u32 = 65536 - FIRST_PORT;
/// Ports tried before the kernel is left to choose.
const TRIES: u32 = 32;

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
    match maps::pod(netns) {
        Some(pod) if pod.has(PodEntry::SERVED) && call.is_tcp() => enrolled(call, netns),
        _ => {}
    }
    Answer::Allow
}

#[inline(always)]
fn enrolled(call: &Call, netns: u64) {
    if call.port() != 0 {
        // Captured connections hold the application's port; without this it could not listen again after a restart.
        reuse(call, netns);
    } else if ztunnel::calls(call) && !maps::is_own(netns, call.address()) {
        reuse(call, netns);
        if let Some(port) = claim_port(netns, call.address()) {
            call.set_port(port);
        }
    }
}

#[inline(always)]
fn reuse(call: &Call, netns: u64) {
    if !allow_address_reuse(call.helper_context()) {
        account(&call.connection(netns), Reason::ReuseRefused);
    }
}

/// Claims the next port in turn that no connection of this client uses. In turn, so that a port rests as long as
/// possible before it is used again; the claim ends when the connection is closed.
#[inline(always)]
fn claim_port(netns: u64, address: Address) -> Option<u16> {
    let key = OwnAddress { netns, address };
    let cursor = match PORT_CURSORS.get_ptr_mut(&key) {
        Some(cursor) => cursor,
        None => {
            PORT_CURSORS.insert(&key, &0, 0).ok()?;
            PORT_CURSORS.get_ptr_mut(&key)?
        }
    };
    let mut tries = 0;
    while tries < TRIES {
        // SAFETY: a live map value. Two CPUs may read the same turn; the claim below tells them apart.
        let turn = unsafe {
            *cursor = (*cursor).wrapping_add(1);
            *cursor
        };
        let port = FIRST_PORT + turn % PORTS;
        let claim = ClientPort {
            netns,
            address,
            port,
            reserved: 0,
        };
        if CLIENT_PORTS.insert(&claim, &1, BPF_NOEXIST.into()).is_ok() {
            #[expect(clippy::cast_possible_truncation, reason = "below 65536 by construction")]
            return Some(port as u16);
        }
        tries += 1;
    }
    None
}
