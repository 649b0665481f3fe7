//! Arrival in ztunnel's netns, at its own interface: hands redirected connections to ztunnel's listeners.

use aya_ebpf::helpers::generated::bpf_sk_assign;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_common::flow::Ends;
use weir_common::mark;
use weir_common::ports;
use weir_common::reason::Reason;
use weir_common::tag::{self, Direction};
use weir_ebpf_shared::account::{account, count};
use weir_tc_ebpf::packet::{Packet, Verdict};
use weir_tc_ebpf::parse::{self, Datagram, Link, Segment};
use weir_tc_ebpf::socket;

use crate::known::Known;
use crate::{flow, listeners, maps};

const ETHERNET_SOURCE: u32 = 6;
/// Whoever sent it is no pod that we know.
const NOBODY: u64 = 0;

/// The program.
#[classifier]
pub fn weir_ztunnel_in(context: TcContext) -> i32 {
    judge(&Packet::in_place(context)).code()
}

#[inline(always)]
fn judge(packet: &Packet) -> Verdict {
    let Some(source) = packet.header(ETHERNET_SOURCE).filter(|mac| tag::is_any(*mac)) else {
        return Verdict::GoOn;
    };
    let Some(direction) = tag::read(source, maps::contract().secret) else {
        return forged();
    };
    match parse::datagram(packet, Link::Ethernet) {
        Some(datagram) => take(packet, direction, &datagram),
        None => forged(),
    }
}

#[inline(always)]
fn take(packet: &Packet, direction: Direction, datagram: &Datagram) -> Verdict {
    let own = match direction {
        Direction::Outbound => datagram.source,
        Direction::Inbound => datagram.destination,
        Direction::Served => return forged(),
    };
    let era = maps::era();
    let segment = datagram.segment(packet);
    // Whose a connection is was checked when it began.
    if segment.is_some_and(|segment| is_known(packet, direction, era, &segment)) {
        return deliver(packet);
    }
    let Some(pod) = maps::local_pod(own, era) else {
        return forged();
    };
    match segment {
        Some(segment) => {
            Known::new(&ends(direction, &segment), era).forget();
            offer(packet, direction, pod.netns, &segment)
        }
        // A complaint about a connection; the kernel finds whose.
        None => deliver(packet),
    }
}

#[inline(always)]
fn ends(direction: Direction, segment: &Segment) -> Ends {
    match direction {
        Direction::Outbound => flow::from_pod(segment),
        Direction::Inbound | Direction::Served => flow::to_pod(segment),
    }
}

/// Whether the segment belongs to a connection, as it did a moment ago if it asks for no new one. That one may be over:
/// what comes late has no other place to go.
#[inline(always)]
fn is_known(packet: &Packet, direction: Direction, era: u64, segment: &Segment) -> bool {
    if segment.opens() {
        return has_socket(packet, segment);
    }
    let known = Known::new(&ends(direction, segment), era);
    if known.is_noted() {
        return true;
    }
    let has_socket = has_socket(packet, segment);
    if has_socket {
        known.note();
    }
    has_socket
}

/// From here a rule leads the packet to local delivery, and the kernel finds the socket of what has begun.
#[inline(always)]
fn deliver(packet: &Packet) -> Verdict {
    packet.set_our_mark(mark::TO_ZTUNNEL);
    Verdict::GoOn
}

#[inline(always)]
fn forged() -> Verdict {
    count(NOBODY, Reason::ForgedTag);
    Verdict::Drop
}

/// Whether the segment belongs to a connection. One that is over and whose ends are used again is none.
#[inline(always)]
fn has_socket(packet: &Packet, segment: &Segment) -> bool {
    match socket::state(packet, segment) {
        None | Some(socket::LISTEN) => false,
        Some(socket::TIME_WAIT) => !segment.opens(),
        Some(_) => true,
    }
}

/// Without a flood only new connections get here; with one the listener keeps no state until the second segment.
#[inline(always)]
fn offer(packet: &Packet, direction: Direction, netns: u64, segment: &Segment) -> Verdict {
    let port = match direction {
        Direction::Outbound => ports::OUTBOUND,
        Direction::Inbound if segment.destination_port == ports::HBONE => ports::HBONE,
        Direction::Inbound | Direction::Served => ports::INBOUND,
    };
    let assigned = listeners::offer(packet, segment, port, |listener| {
        // SAFETY: the context is the kernel's, and the socket is held by the caller. One of another netns is refused.
        unsafe { bpf_sk_assign(packet.helper_context().cast(), listener.cast(), 0) == 0 }
    });
    if assigned {
        return deliver(packet);
    }
    account(&segment.connection(netns), Reason::NoListener);
    Verdict::Drop
}
