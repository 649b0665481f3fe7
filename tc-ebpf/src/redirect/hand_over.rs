//! Which ztunnel has a connection, and the way to it.

use weir_common::flow::{Decided, Flow};
use weir_common::mark;
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_common::tag::{self, Direction};
use weir_common::ztunnel::{NodeContract, ZtunnelPlace};
use weir_ebpf_shared::account::{Connection, account};
use weir_tc_ebpf::packet::{Packet, Verdict};

use crate::flow;
use crate::maps::{contract, ztunnel_at};

/// How a packet gets from the program to ztunnel.
#[derive(Clone, Copy)]
pub enum Way {
    /// By the interfaces of the host that lead to the pod and to ztunnel.
    Host(Direction),
    /// From the pod's own interface to ztunnel's, by Ethernet address.
    Frame(Direction),
}

/// A connection that begins, and is to be captured for this reason.
#[inline(always)]
pub fn begin(packet: &Packet, flow: &Flow, connection: &Connection, way: Way, reason: Reason) -> Verdict {
    let contract = contract();
    match ztunnel_at(contract.current) {
        Some(ztunnel) => {
            flow::capture(flow, contract.current);
            account(connection, reason);
            send(packet, &ztunnel, way, contract.secret)
        }
        None if contract.has(NodeContract::FAIL_OPEN) => pass(flow, connection, Reason::FailOpen),
        None => {
            account(connection, Reason::NoZtunnel);
            Verdict::Drop
        }
    }
}

/// A connection that begins, and is not captured for this reason.
#[inline(always)]
pub fn pass(flow: &Flow, connection: &Connection, reason: Reason) -> Verdict {
    flow::pass(flow);
    account(connection, reason);
    Verdict::GoOn
}

/// A connection that has begun. One of which nothing is known is ztunnel's if the pod's are captured: who is not
/// party to it answers with a reset.
#[inline(always)]
pub fn go_on(packet: &Packet, flow: &Flow, connection: &Connection, pod: PodEntry, way: Way) -> Verdict {
    let contract = contract();
    let slot = match flow::recall(flow) {
        Some(decided) if decided.what == Decided::CAPTURED => decided.ztunnel,
        None if pod.has(PodEntry::REDIRECTING) => contract.current,
        _ => return Verdict::GoOn,
    };
    match ztunnel_at(slot) {
        Some(ztunnel) => send(packet, &ztunnel, way, contract.secret),
        None => {
            account(connection, Reason::NoZtunnel);
            Verdict::Drop
        }
    }
}

#[inline(always)]
fn send(packet: &Packet, ztunnel: &ZtunnelPlace, way: Way, secret: [u8; 3]) -> Verdict {
    let (mac, direction) = match way {
        Way::Host(direction) => (ztunnel.mac, direction),
        Way::Frame(direction) => (ztunnel.steered, direction),
    };
    if !packet.address_frame(mac, tag::of(direction, secret)) {
        return Verdict::Drop;
    }
    match way {
        // Straight into ztunnel's netns; that is possible on arrival only.
        Way::Host(Direction::Outbound) => packet.enter_behind(ztunnel.interface),
        Way::Host(_) => leave(packet, ztunnel.interface),
        Way::Frame(Direction::Outbound) => Verdict::GoOn,
        Way::Frame(_) => packet.leave_by(packet.interface()),
    }
}

/// Sends a tagged packet out to ztunnel; the mark says that it was us who tagged it.
#[inline(always)]
pub fn leave(packet: &Packet, interface: u32) -> Verdict {
    packet.set_our_mark(mark::TAGGED);
    packet.leave_by(interface)
}
