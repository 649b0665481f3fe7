//! A pod's connection is about to leave for ztunnel: remembers where it was going under the name by which ztunnel will
//! see it, its source address and port.

use aya_ebpf::bindings::{BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_TCP_CONNECT_CB};
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use weir_common::detour::{ClientEnd, Original};
use weir_common::flow::SocketNote;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::maps::is_own;
use weir_ebpf_shared::place::{self, Place};
use weir_sockops_ebpf::socket::bind_to_loopback;
use weir_sockops_ebpf::stream::Stream;

use crate::detour::exemption;
use crate::maps::{ORIGINALS, detour, original};

const TCP_CLOSE: u32 = 7;

#[sock_ops]
pub fn weir_departure(context: SockOpsContext) -> u32 {
    let stream = Stream::new(context);
    match stream.operation() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => leaving(&stream),
        BPF_SOCK_OPS_STATE_CB if stream.new_state() == TCP_CLOSE => forget(&stream),
        _ => {}
    }
    1
}

/// The kernel has chosen source and port and is about to send the SYN.
#[inline(always)]
fn leaving(stream: &Stream) {
    let netns = stream.netns();
    let Some(detour) = detour(netns) else { return };
    let (address, port) = stream.remote();
    match stream.note() {
        Some(note) if note.kind == SocketNote::DETOURED && detour.leads_to(address, port) => {
            remember(stream, &note);
        }
        Some(note) if note.kind == SocketNote::EXCLUDED => {}
        _ => stop_unturned(stream, netns),
    }
}

/// If it cannot be remembered ztunnel refuses the connection, and `arrival` counts it.
#[inline(always)]
fn remember(stream: &Stream, note: &SocketNote) {
    let original = Original {
        address: note.address,
        port: note.port,
        reserved: 0,
        socket: stream.cookie(),
    };
    if ORIGINALS.insert(client_end(stream), original, 0).is_ok() {
        stream.watch_state();
    }
}

/// Some connections reach this point without the connect hook: MPTCP makes its own inside the kernel. Bound to
/// loopback they have no route to where they want to go.
#[inline(always)]
fn stop_unturned(stream: &Stream, netns: u64) {
    let (address, port) = stream.remote();
    let Place::World = place::of(address, || is_own(netns, address)) else {
        return;
    };
    if exemption(netns, address, port).is_none() {
        bind_to_loopback(stream.helper_context());
        account(&stream.connection(netns), Reason::Undetoured);
    }
}

/// The connection failed, or was accepted long ago. Its port may be another's by now.
#[inline(always)]
fn forget(stream: &Stream) {
    let end = client_end(stream);
    let socket = stream.cookie();
    if original(&end).is_some_and(|original| original.socket == socket) {
        ORIGINALS.remove(end).ok();
    }
}

#[inline(always)]
fn client_end(stream: &Stream) -> ClientEnd {
    let (address, port) = stream.local();
    ClientEnd {
        address,
        port: u32::from(port),
    }
}
