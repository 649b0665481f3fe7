//! Egress of a pod's interfaces: finds TCP connections that leave the pod without having gone through ztunnel.
//!
//! The socket hooks do not see everything: MPTCP's further subflows, raw and packet sockets, connections of another
//! netns inside the pod, connections from before the enrolment, hooks that somebody removed. Nor does this program see
//! everything: with `PACKET_QDISC_BYPASS` the kernel does not run it.

use core::ptr::null_mut;

use aya_ebpf::helpers::generated::{bpf_sk_storage_get, bpf_skb_cgroup_id};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::flow::SocketNote;
use weir_common::mark;
use weir_common::node::NodeSettings;
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_ebpf_shared::account::account;
use weir_ebpf_shared::maps::{self, NOTES, ZTUNNELS, node};
use weir_ebpf_shared::place::{self, Place};
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Link, Segment};

/// Reads the note or nothing; only the connect hook makes notes.
const NO_CREATE: u64 = 0;

/// For interfaces with Ethernet headers.
#[classifier]
pub fn weir_guard(context: TcContext) -> i32 {
    guard(&Packet::new(context), Link::Ethernet).code()
}

/// For interfaces without.
#[classifier]
pub fn weir_guard_ip(context: TcContext) -> i32 {
    guard(&Packet::new(context), Link::Ip).code()
}

#[inline(always)]
fn guard(packet: &Packet, link: Link) -> Verdict {
    let Some(segment) = parse::segment(packet, link) else {
        return Verdict::GoOn;
    };
    let astray = is_astray(packet);
    if !astray && !segment.opens() {
        return Verdict::GoOn;
    }
    let netns = crate::netns();
    let Some(pod) = maps::pod(netns).filter(|pod| pod.has(PodEntry::CAPTURING)) else {
        return Verdict::GoOn;
    };
    if astray {
        account(&segment.connection(netns), Reason::Unrouted);
        return Verdict::Drop;
    }
    if is_ztunnels(packet) || is_exempt(netns, pod, &segment) || was_excluded(packet) {
        return Verdict::GoOn;
    }
    account(&segment.connection(netns), Reason::Leaked);
    if node().has(NodeSettings::GUARD_ENFORCES) {
        Verdict::Drop
    } else {
        Verdict::GoOn
    }
}

/// Captured packets never get here as long as the routing rules are there. A virtual machine's mark is astray only on
/// what is forwarded: the kernel copies it into refusals that go back to the machine.
#[inline(always)]
fn is_astray(packet: &Packet) -> bool {
    match packet.our_mark() {
        mark::OUTBOUND => true,
        mark::VIRTUAL => packet.is_forwarded(),
        _ => false,
    }
}

/// ztunnel's mark is not proof enough: a container with NET_ADMIN can set it too.
#[inline(always)]
fn is_ztunnels(packet: &Packet) -> bool {
    if packet.our_mark() != mark::ZTUNNEL {
        return false;
    }
    // SAFETY: the context is the one that the kernel passed; without a socket the answer is 0, which no cgroup has.
    let cgroup = unsafe { bpf_skb_cgroup_id(packet.helper_context()) };
    ZTUNNELS.get_ptr(cgroup).is_some() || node().has(NodeSettings::TRUST_MARK_ALONE)
}

#[inline(always)]
fn is_exempt(netns: u64, pod: PodEntry, segment: &Segment) -> bool {
    match place::of(segment.destination, || maps::is_own(netns, segment.destination)) {
        Place::Own(_) | Place::Uncaptured(_) => true,
        Place::World => {
            place::outbound_exclusion(netns, pod, segment.destination, segment.destination_port).is_some()
        }
    }
}

/// The connect hook may have let the connection go by a service address, of which the packet knows nothing any more.
#[inline(always)]
fn was_excluded(packet: &Packet) -> bool {
    packet.full_socket().is_some_and(|socket| {
        // SAFETY: the kernel checked the socket; the pointer is null or a live value of the map's type.
        unsafe {
            let note: *const SocketNote = bpf_sk_storage_get(
                (&raw const NOTES).cast_mut().cast(),
                socket.cast(),
                null_mut(),
                NO_CREATE,
            )
            .cast();
            !note.is_null() && (*note).kind == SocketNote::EXCLUDED
        }
    })
}
