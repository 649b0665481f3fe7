//! One decision of the kernel side, as `weir trace` shows it.

use crate::address::Address;
use crate::shared;

/// A record of the ring buffer of events.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When, on the monotonic clock.
    pub time_ns: u64,
    /// The pod's netns cookie.
    pub netns: u64,
    /// The source; unspecified where the kernel has not chosen it yet.
    pub source: Address,
    /// The destination as it was asked for.
    pub destination: Address,
    /// The destination that it got instead; unspecified where it kept its own.
    pub turned_to: Address,
    /// Source port, in host byte order; 0 where the kernel has not chosen it yet.
    pub source_port: u16,
    /// Destination port, in host byte order.
    pub destination_port: u16,
    /// Port of the destination that it got instead, in host byte order.
    pub turned_to_port: u32,
    /// A [`crate::reason::Reason`].
    pub reason: u32,
    /// The process that asked, 0 where a packet did.
    pub process: u32,
    /// Decisions on the same CPU before this one for which the ring had no room.
    pub untold: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}
shared!(Event);

/// Key of the map of counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CounterKey {
    /// The pod's netns cookie.
    pub netns: u64,
    /// A [`crate::reason::Reason`].
    pub reason: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}
shared!(CounterKey);
