//! What was decided for connections.

use weir_common::address::Address;
use weir_common::flow::{Decided, Flow};
use weir_common::ztunnel::SLOTS;
use weir_tc_ebpf::parse::Segment;

use crate::maps::{FLOWS, ztunnel_at};

/// Replaces whatever was decided for an earlier connection.
const ANY: u64 = 0;

/// The key of a connection of the pod with this netns cookie.
#[inline(always)]
pub fn key(netns: u64, peer: (Address, u16), pod: (Address, u16)) -> Flow {
    Flow {
        netns,
        source: peer.0,
        destination: pod.0,
        source_port: peer.1,
        destination_port: pod.1,
        reserved: 0,
    }
}

/// The key of the connection to which a segment from the pod belongs.
#[inline(always)]
pub fn from_pod(netns: u64, segment: &Segment) -> Flow {
    key(
        netns,
        (segment.destination, segment.destination_port),
        (segment.source, segment.source_port),
    )
}

/// The key of the connection to which a segment to the pod belongs.
#[inline(always)]
pub fn to_pod(netns: u64, segment: &Segment) -> Flow {
    key(
        netns,
        (segment.source, segment.source_port),
        (segment.destination, segment.destination_port),
    )
}

/// What was decided.
#[inline(always)]
pub fn recall(flow: &Flow) -> Option<Decided> {
    // SAFETY: a live map value of two aligned words, written whole when a connection begins.
    FLOWS.get_ptr(flow).map(|decided| unsafe { *decided })
}

/// The connection goes on uncaptured.
#[inline(always)]
pub fn pass(flow: &Flow) {
    remember(flow, Decided::PASSED, 0);
}

/// The ztunnel in this slot has the connection.
#[inline(always)]
pub fn capture(flow: &Flow, ztunnel: u32) {
    remember(flow, Decided::CAPTURED, ztunnel);
}

#[inline(always)]
fn remember(flow: &Flow, what: u32, ztunnel: u32) {
    let decided = Decided { what, ztunnel };
    // A map that makes room by itself takes everything.
    FLOWS.insert(flow, decided, ANY).unwrap_or_default();
}

/// Slot of the ztunnel that the host's interface leads to.
#[inline(always)]
pub fn slot_of(interface: u32) -> u32 {
    let mut slot = 0;
    while slot < SLOTS {
        if ztunnel_at(slot).is_some_and(|place| place.interface == interface) {
            break;
        }
        slot += 1;
    }
    slot
}
