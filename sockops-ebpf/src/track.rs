//! Follows TCP sockets through their lives: ztunnel's listeners, probes, and the client ports in use.

use aya_ebpf::bindings::{
    BPF_ANY, BPF_NOEXIST, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
    BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB,
};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_sock_hash_update};
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use weir_common::flow::{PASS_LIFETIME_NS, SocketNote};
use weir_common::given_ports;
use weir_common::listener::{ListenerKey, PortKey, SLOTS};
use weir_common::mark;
use weir_common::pod::PodEntry;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::count;
use weir_ebpf_shared::maps::{self, LISTENERS, NEWEST, PASSES, node};
use weir_ebpf_shared::pod::Pod;
use weir_sockops_ebpf::client_port::Client;
use weir_sockops_ebpf::socket::{allow_address_reuse, bind_to_interface, bind_to_loopback, set_mark};
use weir_sockops_ebpf::stream::Stream;

use crate::listener;

const TCP_CLOSE: u32 = 7;

#[sock_ops]
pub fn weir_track(context: SockOpsContext) -> u32 {
    // The kernel calls this several times in a connection's life; what is not ours must cost nothing.
    let stream = Stream::new(context);
    match stream.operation() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => connecting(&stream),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(&stream),
        BPF_SOCK_OPS_TCP_LISTEN_CB => listening(&stream),
        BPF_SOCK_OPS_STATE_CB if stream.new_state() == TCP_CLOSE => closed(&stream),
        _ => {}
    }
    1
}

/// The kernel has chosen source and port and is about to send the SYN.
#[inline(always)]
fn connecting(stream: &Stream) {
    let netns = stream.netns();
    if netns == node().host_netns {
        return let_probe_pass(stream);
    }
    // All others were decided by the connect hook: those must not pay for a look-up.
    if mark::ours(stream.mark()) == mark::TO_APPLICATION
        && maps::pod(netns).is_some_and(|pod| pod.has(PodEntry::SERVED))
    {
        claim_chosen(stream, netns);
    }
}

/// ztunnel's connection to the application: the `bind` hook has claimed its port, unless the kernel has chosen it.
#[inline(always)]
fn claim_chosen(stream: &Stream, netns: u64) {
    let client = stream.local();
    if !given_ports::contain(client.1) {
        return;
    }
    if let Some(seat) = Client::of(netns, client.0).port(client.1) {
        seat.connects();
        stream.watch_state();
    }
}

#[inline(always)]
fn let_probe_pass(stream: &Stream) {
    let Some(note) = stream.note() else { return };
    if note.kind != SocketNote::PROBE {
        return;
    }
    // SAFETY: the helper takes nothing and always succeeds.
    let expiry = unsafe { bpf_ktime_get_ns() } + PASS_LIFETIME_NS;
    let flow = stream.flow(note.netns);
    if PASSES.insert(flow, expiry, 0).is_ok() {
        // It is counted where it arrives and is let through.
        stream.watch_state();
    } else {
        count(note.netns, Reason::PassesFull);
    }
}

/// A connection that somebody in a pod accepts.
#[inline(always)]
fn accepted(stream: &Stream) {
    let mark = mark::ours(stream.mark());
    if !matches!(mark, mark::TO_APPLICATION | mark::ZTUNNEL) {
        return;
    }
    let netns = stream.netns();
    let Some(pod) = Pod::of(netns).filter(|pod| pod.has(PodEntry::SERVED)) else {
        return;
    };
    match mark {
        // The application accepted ztunnel's connection. Bound to loopback, its socket can take no packet from
        // outside, even if the client uses the same port for a connection of its own.
        mark::TO_APPLICATION => _ = bind_to_loopback(stream.helper_context()),
        mark::ZTUNNEL => accepted_by_ztunnel(stream, &pod),
        _ => {}
    }
}

#[inline(always)]
fn accepted_by_ztunnel(stream: &Stream, pod: &Pod) {
    let (local, port) = stream.local();
    if !pod.is_own(local) {
        let (peer, _) = stream.remote();
        // A virtual machine's connection goes back by the pod's own routes.
        if !pod.is_own(peer) {
            return;
        }
        // Captured outbound: the local address is the world's. The mark brings answers that find no socket any more
        // (the application is gone) back here instead of sending them to the world.
        set_mark(
            stream.helper_context(),
            mark::replaced(stream.mark(), mark::OUTBOUND),
        );
    } else if port != ports::HBONE {
        accepted_from_client(stream, pod.netns);
    }
}

/// The client may come from a port under which ztunnel speaks to the application for it. Both connections are then
/// between the same addresses and ports; only the interface tells their packets apart.
#[inline(always)]
fn accepted_from_client(stream: &Stream, netns: u64) {
    let (address, port) = stream.remote();
    if !given_ports::contain(port) {
        return;
    }
    let client = Client::of(netns, address);
    let Some(seat) = client.port(port) else { return };
    stream.watch_state();
    if seat.share()
        && let Some(interface) = client.asked_by(port)
        && !bind_to_interface(stream.helper_context(), interface)
    {
        count(netns, Reason::PortTaken);
    }
}

#[inline(always)]
fn listening(stream: &Stream) {
    let netns = stream.netns();
    let Some(pod) = maps::pod(netns).filter(|pod| !pod.has(PodEntry::DRAINING)) else {
        return;
    };
    let (_, port) = stream.local();
    if mark::ours(stream.mark()) != mark::ZTUNNEL || !(ports::is_ztunnel(port) || port == ports::DNS_CAPTURE)
    {
        listener::note(port);
        let_marks_through(stream);
    } else if ports::takes_captured(port) && bound_by_ztunnel(stream) {
        note_listener(stream, netns, u32::from(port));
        if port == ports::OUTBOUND && !pod.has(PodEntry::VIRTUAL) {
            speak_by_loopback(stream);
        }
    }
}

/// What the application says to a client for which ztunnel has no socket any more meets this listener, and its refusal
/// has to reach a socket that is bound to loopback. What it accepts comes by loopback too, but from virtual machines.
#[inline(always)]
fn speak_by_loopback(stream: &Stream) {
    let mark = mark::replaced(stream.mark(), mark::OUTBOUND);
    // In this order: without the mark its answers would find no route by loopback.
    if set_mark(stream.helper_context(), mark) {
        bind_to_loopback(stream.helper_context());
    }
}

/// A container may set the mark too, and share the port.
#[inline(always)]
fn bound_by_ztunnel(stream: &Stream) -> bool {
    stream.note().is_some_and(|note| note.kind == SocketNote::ZTUNNEL)
}

/// The application's connections take the mark of ztunnel's SYN only where its listener has none of its own; their
/// answers would leave by the interface.
#[inline(always)]
fn let_marks_through(stream: &Stream) {
    if stream.mark() != 0 {
        set_mark(stream.helper_context(), 0);
    }
}

#[inline(always)]
fn note_listener(stream: &Stream, netns: u64, port: u32) {
    // What it accepts has a port that the application may want to listen on again: both sides have to allow that, and
    // accepted sockets are born with what the listener has.
    if !allow_address_reuse(stream.helper_context()) {
        count(netns, Reason::ReuseRefused);
    }
    let newest = PortKey {
        netns,
        port,
        reserved: 0,
    };
    // SAFETY: a live map value of four aligned bytes.
    let first = NEWEST.get_ptr(newest).map_or(0, |slot| unsafe { *slot } + 1);
    match take_slot(stream, netns, port, first) {
        Some(slot) if NEWEST.insert(newest, slot, 0).is_ok() => {}
        _ => count(netns, Reason::ListenersFull),
    }
}

/// Puts the listener into the next free slot: an older ztunnel keeps its own, however many come and go after it.
/// Where none is free the oldest makes room.
#[inline(always)]
fn take_slot(stream: &Stream, netns: u64, port: u32, first: u32) -> Option<u32> {
    let mut tries = 0;
    while tries <= SLOTS {
        let slot = (first + tries) % SLOTS;
        let flags = if tries < SLOTS { BPF_NOEXIST } else { BPF_ANY };
        if register(stream, &mut ListenerKey { netns, port, slot }, flags.into()) {
            return Some(slot);
        }
        tries += 1;
    }
    None
}

#[inline(always)]
fn register(stream: &Stream, key: &mut ListenerKey, flags: u64) -> bool {
    // SAFETY: the context is the one that the kernel passed, the key a live struct of the map's key type.
    unsafe {
        bpf_sock_hash_update(
            stream.helper_context().cast(),
            (&raw const LISTENERS).cast_mut().cast(),
            core::ptr::from_mut(key).cast(),
            flags,
        ) == 0
    }
}

/// The socket is closed: what it claimed is free again.
#[inline(always)]
fn closed(stream: &Stream) {
    let netns = stream.netns();
    if netns == node().host_netns {
        if let Some(note) = stream.note() {
            PASSES.remove(stream.flow(note.netns)).ok();
        }
        return;
    }
    let client = match mark::ours(stream.mark()) {
        mark::TO_APPLICATION => stream.local(),
        _ => stream.remote(),
    };
    if let Some(seat) = Client::of(netns, client.0).port(client.1) {
        seat.release();
    }
}
