//! What was decided for connections.

use weir_common::flow::{Decided, Ends};
use weir_common::local_pod::LocalPod;
use weir_common::ztunnel::SLOTS;
use weir_tc_ebpf::parse::Segment;

use crate::maps::{FLOWS, ztunnel_at};
use crate::recent;

/// Replaces whatever was decided for an earlier connection.
const ANY: u64 = 0;

/// The connection to which a segment from the pod belongs.
#[inline(always)]
pub const fn from_pod(segment: &Segment) -> Ends {
    Ends {
        peer: segment.destination,
        pod: segment.source,
        peer_port: segment.destination_port,
        pod_port: segment.source_port,
    }
}

/// The connection to which a segment to the pod belongs.
#[inline(always)]
pub const fn to_pod(segment: &Segment) -> Ends {
    Ends {
        peer: segment.source,
        pod: segment.destination,
        peer_port: segment.source_port,
        pod_port: segment.destination_port,
    }
}

/// What was decided.
#[inline(always)]
pub fn recall(ends: &Ends) -> Option<Decided> {
    // SAFETY: a live map value of aligned words, written whole when a connection begins.
    FLOWS.get_ptr(ends).map(|decided| unsafe { *decided })
}

/// Keeps what is decided, in the place of whatever was decided for an earlier connection.
#[inline(always)]
pub fn remember(ends: &Ends, decided: Decided) {
    // A map that makes room by itself takes everything.
    FLOWS.insert(ends, decided, ANY).unwrap_or_default();
    recent::forget(ends);
}

/// The ztunnel in this slot has the connection, which it makes itself, with the pod that has the address in this era.
#[inline(always)]
pub fn make(ends: &Ends, pod: &LocalPod, ztunnel: u32, era: u64) {
    let decided = Decided {
        what: Decided::CAPTURED,
        ztunnel,
        netns: pod.netns,
        era,
        interface: pod.interface,
        reserved: 0,
    };
    remember(ends, decided);
}

/// The pod and its address have been checked, in this era and at this interface.
#[inline(always)]
pub fn confirm(ends: &Ends, era: u64, interface: u32) {
    if let Some(decided) = FLOWS.get_ptr_mut(ends) {
        // SAFETY: a live map value of aligned words. Others may read it meanwhile: the era comes last, and what was
        // decided is left alone, as it may be newer.
        unsafe {
            (&raw mut (*decided).interface).write_volatile(interface);
            (&raw mut (*decided).era).write_volatile(era);
        }
    }
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
