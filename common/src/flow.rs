//! Connections that the kernel side remembers.

use crate::address::Address;
use crate::shared;

/// A connection that may reach the application uncaptured, as the pod receives it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The pod's netns cookie.
    pub netns: u64,
    /// Where the connection comes from.
    pub source: Address,
    /// Where it goes: one of the pod's addresses.
    pub destination: Address,
    /// Source port, in host byte order.
    pub source_port: u16,
    /// Destination port, in host byte order.
    pub destination_port: u16,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}
shared!(Flow);

/// How long a flow may stay in the map of passes if its socket never reports that it is closed.
pub const PASS_LIFETIME_NS: u64 = 150 * 1_000_000_000;

/// Where the connection was meant to go that a CPU is just making. Other people's programs may replace the destination
/// before the last of ours runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Making {
    /// The thread that makes it, or 0: a thread makes one connection at a time.
    pub thread: u64,
    /// When it began, in the kernel's ticks.
    pub since: u64,
    /// The pod's netns cookie.
    pub netns: u64,
    /// The destination.
    pub address: Address,
    /// Its port, in host byte order.
    pub port: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}
shared!(Making);

/// What a socket has to be remembered for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketNote {
    /// One of [`SocketNote::PROBE`]….
    pub kind: u32,
    /// Destination port before it was rewritten, in host byte order.
    pub port: u32,
    /// Destination before it was rewritten.
    pub address: Address,
    /// Netns cookie of the pod that a probe goes to.
    pub netns: u64,
}
shared!(SocketNote);

impl SocketNote {
    /// A host process probes an enrolled pod.
    pub const PROBE: u32 = 1;
    /// DNS traffic that was turned to ztunnel.
    pub const DNS: u32 = 2;
    /// The pod's annotations exclude the destination from capture.
    pub const EXCLUDED: u32 = 3;
    /// ztunnel has bound it: if it listens, connections are handed to it.
    pub const ZTUNNEL: u32 = 4;
    /// A captured connection, and where the application wants it to go.
    pub const CAPTURED: u32 = 5;
    /// A connection that was turned to ztunnel's address, and where the application wants it to go.
    pub const DETOURED: u32 = 6;
    /// ztunnel accepted such a connection: where it was going.
    pub const ORIGINAL: u32 = 7;
}

/// The two ends of a pod's connection (node contract).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Address of the other end.
    pub peer: Address,
    /// Address of the pod.
    pub pod: Address,
    /// Port of the other end, in host byte order.
    pub peer_port: u16,
    /// Port of the pod, in host byte order.
    pub pod_port: u16,
}
shared!(Ends);

/// Places for pairs of addresses, each of which says when something was last remembered of connections between them.
pub const PAIRS: u32 = 8192;

/// The one entry of the map of time by which places of [`PAIRS`] go: it is counted in renewals.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairTime {
    /// What is written to the place of a connection of which something is remembered.
    pub now: u32,
    /// Where no more than this is written, nothing is remembered any longer.
    pub over: u32,
}
shared!(PairTime);

impl PairTime {
    /// What is written now; 0 stands where nothing ever was.
    #[must_use]
    #[inline(always)]
    pub const fn written(&self) -> u32 {
        if self.now > 1 { self.now } else { 1 }
    }

    /// As an agent begins, which does not know what was written by what: whatever is there counts.
    #[must_use]
    pub const fn begun(&self) -> Self {
        Self {
            now: self.written(),
            over: 0,
        }
    }

    /// Once all that is remembered has been written with `now`, and so has been for long all that was remembered since.
    #[must_use]
    pub const fn renewed(&self) -> Self {
        Self {
            now: self.written().saturating_add(1),
            over: self.written() - 1,
        }
    }
}

impl Ends {
    /// Place of the two addresses; others may have the same one.
    #[must_use]
    #[inline(always)]
    pub const fn pair(&self) -> u32 {
        self.addresses() & (PAIRS - 1)
    }

    /// The two addresses as a number.
    #[must_use]
    #[inline(always)]
    pub const fn addresses(&self) -> u32 {
        let ([_, _, peer, near_peer], [_, _, pod, near_pod]) = (self.peer.words, self.pod.words);
        spread(spread(near_peer ^ peer.rotate_left(16)) ^ near_pod ^ pod.rotate_left(16))
    }
}

/// Every bit of a word, in the bits that are used (Fibonacci hashing): addresses differ in their highest.
#[must_use]
#[inline(always)]
pub const fn spread(word: u32) -> u32 {
    ((word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// What was decided for a connection when it began (node contract), keyed by its [`Ends`]. A captured pod's connection of
/// which nothing is remembered is captured, and the ztunnel that is implied has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// [`Decided::PASSED`] or [`Decided::CAPTURED`].
    pub what: u32,
    /// Slot of the ztunnel that has it, if it is captured.
    pub ztunnel: u32,
    /// The pod's netns cookie: an address may have been another's before.
    pub netns: u64,
}
shared!(Decided);

impl Decided {
    /// It goes on uncaptured.
    pub const PASSED: u32 = 1;
    /// A ztunnel has it.
    pub const CAPTURED: u32 = 2;
}
