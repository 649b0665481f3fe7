//! What was decided for connections.

use weir_common::flow::{Decided, Ends, PairTime};
use weir_common::local_pod::LocalPod;
use weir_common::ztunnel::{NodeContract, SLOTS};
use weir_tc_ebpf::parse::Segment;

use crate::known::Known;
use crate::maps::{FLOWS, PAIR_TIME, PAIRS, contract, ztunnel_at};
use crate::recent::{self, Answer, Question, Site};

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

/// Whether something may be remembered of connections between these addresses. Of most pairs there never was anything,
/// and this takes no look-up in a map of all.
#[inline(always)]
pub fn may_be_remembered(ends: &Ends) -> bool {
    // SAFETY: a live map value of four aligned bytes; volatile, so that it is read here.
    pair(ends).is_none_or(|pair| unsafe { pair.read_volatile() } > time().over)
}

#[inline(always)]
fn time() -> PairTime {
    PAIR_TIME.get(0).copied().unwrap_or(PairTime { now: 0, over: 0 })
}

#[inline(always)]
fn pair(ends: &Ends) -> Option<*mut u32> {
    PAIRS.get_ptr_mut(ends.pair())
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
    if let Some(pair) = pair(ends) {
        // Before what it says is true. SAFETY: as above.
        unsafe { pair.write_volatile(time().written()) };
    }
    // A map that makes room by itself takes everything.
    FLOWS.insert(ends, decided, ANY).unwrap_or_default();
    recent::forget(ends);
}

/// A ztunnel has the connection of a captured pod. That is what remembering nothing says, if it is the ztunnel that is
/// implied: to look whether something else is remembered takes a fraction of what an insertion takes.
#[inline(always)]
pub fn capture(ends: &Ends, question: &Question<'_>, decided: Decided, contract: &NodeContract) {
    let turn = question.turn();
    match (contract.implies(decided.ztunnel), question.of_all) {
        (true, true) => return,
        (true, false) => disregard(ends),
        (false, _) => remember(ends, decided),
    }
    if !question.of_all {
        let Decided { what, ztunnel, .. } = decided;
        question.keep_decided(turn, Answer { what, ztunnel });
    }
}

/// The ztunnel in this slot has the connection, which it makes itself, with the pod that has the address in this era.
#[inline(always)]
pub fn make(ends: &Ends, pod: &LocalPod, ztunnel: u32, era: u64) {
    // It has the socket already.
    Known::new(ends, era).note();
    let decided = captured(pod.netns, ztunnel);
    if pod.has(LocalPod::CAPTURED) {
        // Answers come by the pod's own interface.
        let site = if pod.interface == 0 {
            Site::pod(pod.netns)
        } else {
            Site::host(pod.interface)
        };
        capture(ends, &Question::new(ends, era, site), decided, &contract());
    } else {
        remember(ends, decided);
    }
}

/// Nothing is remembered any more.
#[inline(always)]
fn disregard(ends: &Ends) {
    if FLOWS.get_ptr(ends).is_some() {
        // Gone already is gone.
        FLOWS.remove(ends).unwrap_or_default();
    }
    recent::forget(ends);
}

/// A ztunnel has it.
#[inline(always)]
pub const fn captured(netns: u64, ztunnel: u32) -> Decided {
    Decided {
        what: Decided::CAPTURED,
        ztunnel,
        netns,
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
