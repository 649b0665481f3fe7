//! The table of what Weir needs of a kernel and of its own rights, and what for.

use crate::datapath::sys::{AttachType, MapType};

mod table;

pub use table::FEATURES;

/// A way of redirecting or watching traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// In-pod contract, any interface.
    Socket,
    /// DNS capture for the in-pod contract.
    Dns,
    /// In-pod contract, interfaces that the pod itself bridges to virtual machines.
    Virtual,
    /// Node contract, veth and netkit.
    Node,
    /// Node contract, outbound of pods without a peer on the host.
    Rewrite,
    /// Node contract, macvlan in bridge mode.
    Steer,
    /// Counting or dropping what slips by.
    Guard,
    /// Taking over pods and proxies that were there before Weir.
    TakeOver,
    /// Watching decisions as they are made.
    Trace,
}

impl Path {
    /// Every path, the most used first.
    pub const ALL: &'static [Self] = &[
        Self::Socket,
        Self::Dns,
        Self::Virtual,
        Self::Node,
        Self::Rewrite,
        Self::Steer,
        Self::Guard,
        Self::TakeOver,
        Self::Trace,
    ];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "in-pod socket",
            Self::Dns => "dns capture",
            Self::Virtual => "in-pod virtual interfaces",
            Self::Node => "node tc",
            Self::Rewrite => "node socket",
            Self::Steer => "node steer",
            Self::Guard => "guard",
            Self::TakeOver => "take-over",
            Self::Trace => "trace",
        }
    }

    /// Whether it brings traffic to ztunnel by itself.
    #[must_use]
    pub const fn redirects(self) -> bool {
        matches!(self, Self::Socket | Self::Node | Self::Rewrite | Self::Steer)
    }
}

/// Something that Weir uses, and what happens without it.
#[derive(Debug)]
pub struct Feature {
    /// Unique name.
    pub name: &'static str,
    /// How to find out.
    pub probe: Probe,
    /// The paths that do not work without it; none if it is only good to have.
    pub needed_by: &'static [Path],
    /// The feature that serves as well.
    pub instead: Option<&'static str>,
    /// What is lost without it, beyond the paths.
    pub costs: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// How to find out whether a feature is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The release is recent enough to have been tested.
    Kernel,
    /// The release is this one or newer, by its two numbers: for what only shows when programs run.
    Since(u32, u32),
    /// The kernel's type information can be read.
    Btf,
    /// cgroup version 2 is mounted.
    Cgroup2,
    /// Objects can be pinned.
    Bpffs,
    /// The right is in effect.
    Capability(Capability),
    /// A map of this type can be made.
    Map(MapType),
    /// A program can be attached to a cgroup.
    CgroupHook(AttachType),
    /// A program can be attached to a network namespace's socket look-up.
    SkLookup,
    /// A program can be attached to an interface with a link.
    Tcx,
    /// The qdisc can be added to an interface.
    Clsact,
    /// A program that calls a kernel function is accepted.
    Helper(HelperCall),
    /// The setting exists in a new network namespace and can be set.
    Sysctl(&'static str),
    /// A socket tells its network namespace's cookie.
    NetnsCookie,
    /// The kernel lists the TCP sockets of a network namespace.
    SocketTable,
    /// Another process's descriptor can be copied.
    PidfdGetfd,
}

/// A right, by its bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// `CAP_NET_ADMIN`
    NetAdmin = 12,
    /// `CAP_NET_RAW`
    NetRaw = 13,
    /// `CAP_SYS_PTRACE`
    SysPtrace = 19,
    /// `CAP_SYS_ADMIN`
    SysAdmin = 21,
    /// `CAP_PERFMON`
    Perfmon = 38,
    /// `CAP_BPF`
    Bpf = 39,
}

/// A kernel function, called from the hook where Weir calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperCall {
    /// `bpf_get_netns_cookie` at connect.
    NetnsCookieInConnect,
    /// `bpf_get_netns_cookie` in sock_ops.
    NetnsCookieInSockOps,
    /// `bpf_sk_storage_get` at connect.
    SkStorageInConnect,
    /// `bpf_setsockopt` at connect.
    SetsockoptInConnect,
    /// `bpf_setsockopt` at bind.
    SetsockoptInBind,
    /// `bpf_get_current_cgroup_id` at connect.
    CgroupIdInConnect,
    /// `bpf_get_current_ancestor_cgroup_id` at connect.
    AncestorCgroupIdInConnect,
    /// `bpf_sock_hash_update` in sock_ops.
    SockHashUpdateInSockOps,
    /// `bpf_sk_assign` in sk_lookup.
    SkAssignInSkLookup,
    /// `bpf_skc_lookup_tcp` in sched_cls.
    SkcLookupInClassifier,
    /// `bpf_sk_assign` in sched_cls.
    SkAssignInClassifier,
    /// `bpf_redirect_peer` in sched_cls.
    RedirectPeerInClassifier,
    /// `bpf_ringbuf_output` at connect.
    RingbufInConnect,
}

#[cfg(test)]
mod tests;
