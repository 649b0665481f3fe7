//! What the kernel side knows of the node.

use crate::shared;

/// The one entry of the map of node settings. In every layout it begins with these fields, and a bit that has a meaning
/// keeps it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSettings {
    /// Netns cookie of the host.
    pub host_netns: u64,
    /// Cgroup below which all pods live; 0 if it is not known.
    pub pods_cgroup: u64,
    /// Depth of that cgroup in the hierarchy.
    pub pods_cgroup_level: u32,
    /// Combination of the `TRACE`… flags.
    pub flags: u32,
    /// Cgroup of the ztunnel that came last; 0 if none is known. The map has it too, but takes a look-up.
    pub ztunnel: u64,
}
shared!(NodeSettings);

impl NodeSettings {
    /// How many bytes are the same in every layout.
    pub const HEAD: usize = 24;

    /// Somebody listens to the events.
    pub const TRACE: u32 = 1 << 0;
    /// Every process in the host's netns may probe pods, pods on the host network too.
    pub const PROBE_BY_ANY_HOST_PROCESS: u32 = 1 << 1;
    /// ztunnel's cgroup is not known: its mark alone is believed.
    pub const TRUST_MARK_ALONE: u32 = 1 << 2;
    /// The guard drops what it finds instead of only counting it.
    pub const GUARD_ENFORCES: u32 = 1 << 3;
    /// Not all that listens in pods is seen: the programs stand below the root of the cgroups.
    pub const LISTENERS_UNSEEN: u32 = 1 << 4;

    /// These settings in the place of those of an earlier agent, whose ztunnel goes on as it was trusted.
    #[must_use]
    pub const fn after(mut self, earlier: Self) -> Self {
        self.flags |= earlier.flags & Self::TRUST_MARK_ALONE;
        self.ztunnel = earlier.ztunnel;
        self
    }

    /// Whether `flag` is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}
