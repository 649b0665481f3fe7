//! Where the pods of this node are that ztunnel serves from a netns of its own (node contract).

use crate::shared;

/// Value of the map of such pods, keyed by each of their addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalPod {
    /// The pod's netns cookie.
    pub netns: u64,
    /// Index, in the host's netns, of the interface that leads to the pod: whoever sends from the address anywhere
    /// else has forged it. 0 where the host has no such interface (macvlan and its like).
    pub interface: u32,
    /// Combination of the `STEERED`… flags.
    pub flags: u32,
    /// Ethernet address of the pod's interface.
    pub mac: [u8; 6],
    /// Ethernet address to which the pod sends what leaves its subnet.
    pub gateway: [u8; 6],
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}
shared!(LocalPod);

impl LocalPod {
    /// The pod is reached by Ethernet address and not by an interface of the host.
    pub const STEERED: u32 = 1 << 0;
    /// The pod and ztunnel are on one bridge: what ztunnel sends for the pod is addressed as the pod would do it.
    pub const ON_ZTUNNELS_BRIDGE: u32 = 1 << 1;
    /// It is not a pod in the mesh but ztunnel itself.
    pub const ZTUNNEL: u32 = 1 << 2;
    /// Its connections are captured unless something else is remembered. Programs find that out of the pod's entry.
    pub const CAPTURED: u32 = 1 << 3;

    /// Whether `flag` is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}
