//! Ports and address ranges that a pod's annotations include in or exclude from capture.

use crate::address::Address;
use crate::shared;

/// The connection comes from the pod.
pub const OUTBOUND: u16 = 0;
/// The connection goes to the pod.
pub const INBOUND: u16 = 1;

/// There is no rule, or one that only keeps a wider rule from matching.
pub const NEITHER: u32 = 0;
/// The rule excludes what it matches.
pub const EXCLUDE: u32 = 1;
/// The rule includes what it matches.
pub const INCLUDE: u32 = 2;

/// Key of the map of port rules; the value is [`EXCLUDE`] or [`INCLUDE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortRule {
    /// The pod's netns cookie.
    pub netns: u64,
    /// [`OUTBOUND`] or [`INBOUND`].
    pub direction: u16,
    /// The destination port, in host byte order.
    pub port: u16,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}
shared!(PortRule);

/// Data of a key of the trie of range rules; the value is [`EXCLUDE`], [`INCLUDE`] or [`NEITHER`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RangeRule {
    /// The pod's netns cookie, always matched whole, as two words so that the trie's key has no padding.
    pub netns: [u32; 2],
    /// The destination.
    pub address: Address,
}
shared!(RangeRule);

impl RangeRule {
    /// Bits of the key before the address.
    pub const NETNS_BITS: u32 = 64;

    /// The rule, or the question, for `address` in the pod `netns`.
    #[must_use]
    #[inline(always)]
    pub const fn new(netns: u64, address: Address) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the cookie")]
        Self {
            netns: [netns as u32, (netns >> 32) as u32],
            address,
        }
    }
}
