//! Counts decisions and, while somebody listens, tells them one by one.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use weir_common::address::Address;
use weir_common::event::{CounterKey, Event};
use weir_common::node::NodeSettings;
use weir_common::reason::Reason;

use crate::maps::{COUNTERS, EVENTS, UNTOLD, node};

/// A connection as far as it is known when the decision falls.
#[derive(Clone, Copy)]
pub struct Connection {
    /// The pod's netns cookie.
    pub netns: u64,
    /// The process that asked, 0 where a packet did.
    pub process: u32,
    /// The source, or the unspecified address.
    pub source: Address,
    /// The source port, or 0.
    pub source_port: u16,
    /// The destination.
    pub destination: Address,
    /// The destination port.
    pub destination_port: u16,
}

/// Another destination than the one that was asked for.
#[derive(Clone, Copy)]
pub struct TurnedTo {
    /// The address.
    pub address: Address,
    /// The port.
    pub port: u16,
}

impl TurnedTo {
    const NOTHING: Self = Self {
        address: Address { words: [0; 4] },
        port: 0,
    };
}

/// Counts `reason` for the pod, and tells it to who listens.
#[inline(always)]
pub fn account(connection: &Connection, reason: Reason) {
    account_turned(connection, reason, None);
}

/// The same for a connection whose destination may have been replaced.
#[inline(always)]
pub fn account_turned(connection: &Connection, reason: Reason, turned_to: Option<TurnedTo>) {
    count(connection.netns, reason);
    if node().has(NodeSettings::TRACE) {
        tell(connection, reason, &turned_to.unwrap_or(TurnedTo::NOTHING));
    }
}

/// Counts `reason` for the pod.
#[inline(always)]
pub fn count(netns: u64, reason: Reason) {
    let key = CounterKey {
        netns,
        reason: reason as u32,
        reserved: 0,
    };
    match COUNTERS.get_ptr_mut(key) {
        // SAFETY: a live map value that belongs to this CPU.
        Some(count) => unsafe { *count += 1 },
        // A full map loses the count and nothing else; the agent sizes it by pods and reasons.
        None => _ = COUNTERS.insert(key, 1, 0),
    }
}

#[inline(never)]
fn tell(connection: &Connection, reason: Reason, turned_to: &TurnedTo) {
    // A full ring loses the event: whoever listens too slowly is told of the gap, traffic never waits.
    let Some(mut entry) = EVENTS.reserve(0) else {
        return add_untold();
    };
    entry.write(Event {
        // SAFETY: the helper takes nothing and always succeeds.
        time_ns: unsafe { bpf_ktime_get_ns() },
        netns: connection.netns,
        source: connection.source,
        destination: connection.destination,
        turned_to: turned_to.address,
        source_port: connection.source_port,
        destination_port: connection.destination_port,
        turned_to_port: u32::from(turned_to.port),
        reason: reason as u32,
        process: connection.process,
        untold: take_untold(),
        reserved: 0,
    });
    entry.submit(0);
}

#[inline(always)]
fn add_untold() {
    if let Some(untold) = UNTOLD.get_ptr_mut(0) {
        // SAFETY: a live map value that belongs to this CPU.
        unsafe { *untold = (*untold).wrapping_add(1) };
    }
}

#[inline(always)]
fn take_untold() -> u32 {
    UNTOLD
        .get_ptr_mut(0)
        // SAFETY: as above.
        .map_or(0, |untold| unsafe { core::ptr::replace(untold, 0) })
}
