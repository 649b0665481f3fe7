//! Where ztunnel is when it has a netns of its own (node contract).

use crate::shared;

/// How many ztunnels there may be at once: one serves new connections, others finish what they have.
pub const SLOTS: u32 = 4;

/// Value of the array of ztunnels' places.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZtunnelPlace {
    /// ztunnel's netns cookie.
    pub netns: u64,
    /// Index, in the host's netns, of the interface that leads to it; 0 in an empty slot, or where the host has none.
    pub interface: u32,
    /// Ethernet address of its interface there.
    pub mac: [u8; 6],
    /// Ethernet address of its interface beside those of pods that are reached by such addresses; zero if it has none.
    pub steered: [u8; 6],
}
shared!(ZtunnelPlace);

/// The one entry of the map of settings of the node contract.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeContract {
    /// Slot of the ztunnel that takes new connections; [`SLOTS`] or more if there is none.
    pub current: u32,
    /// Combination of the `FAIL_OPEN`… flags.
    pub flags: u32,
    /// What tells this node's tags from forged ones: see [`crate::tag`].
    pub secret: [u8; 3],
    /// Slot of the ztunnel that has the captured connections of which nothing is remembered: it took them while it took
    /// all. It stays the same until nobody is there any more.
    pub implied: u8,
}
shared!(NodeContract);

impl NodeContract {
    /// Without a ztunnel new connections pass uncaptured instead of being stopped.
    pub const FAIL_OPEN: u32 = 1 << 0;

    /// Whether what this ztunnel has is what is said by remembering nothing.
    #[must_use]
    #[inline(always)]
    pub const fn implies(&self, slot: u32) -> bool {
        self.implied as u32 == slot
    }

    /// Whether `flag` is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}
