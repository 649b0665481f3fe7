//! Counts decisions and, while somebody listens, tells them one by one.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use weir_common::address::Address;
use weir_common::event::{CounterKey, Event};
use weir_common::node::NodeSettings;
use weir_common::reason::Reason;

use crate::maps::{COUNTERS, EVENTS, node};

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

/// Counts `reason` for the pod, and tells it to who listens.
#[inline(always)]
pub fn account(connection: &Connection, reason: Reason) {
    count(connection.netns, reason);
    if node().has(NodeSettings::TRACE) {
        tell(connection, reason);
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
fn tell(connection: &Connection, reason: Reason) {
    // A full ring loses the event: whoever listens too slowly sees a gap, traffic never waits.
    let Some(mut entry) = EVENTS.reserve(0) else {
        return;
    };
    entry.write(Event {
        // SAFETY: the helper takes nothing and always succeeds.
        time_ns: unsafe { bpf_ktime_get_ns() },
        netns: connection.netns,
        source: connection.source,
        destination: connection.destination,
        source_port: connection.source_port,
        destination_port: connection.destination_port,
        reason: reason as u32,
        process: connection.process,
        reserved: 0,
    });
    entry.submit(0);
}
