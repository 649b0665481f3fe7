//! Why a pod could not be enrolled or removed.

use std::io;

use crate::datapath::DatapathError;
use crate::inside::InsideError;

/// A step failed; what was done before it is undone.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The pod's netns cannot be entered.
    #[error(transparent)]
    Netns(#[from] InsideError),
    /// The pod's netns is the node's own: capturing it would cut off the node.
    #[error("the pod's network namespace is the node's own; hostNetwork pods cannot be enrolled")]
    HostNetns,
    /// A kernel object was refused.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The kernel refused a netlink request.
    #[error("cannot {step}: {source}")]
    Netlink {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// The same, of requests that go by [`super::requests`].
    #[error("cannot {step}: {source}")]
    Refused {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A netlink socket could not be made.
    #[error("netlink socket: {0}")]
    NetlinkSocket(io::Error),
    /// Somebody else's rule has our preference.
    #[error(
        "the pod already has a routing rule with preference {preference} that is not ours; remove it or the pod cannot be captured"
    )]
    RuleTaken {
        /// The preference.
        preference: u32,
    },
    /// A sysctl of the pod's netns could not be set.
    #[error("sysctl {name}: {source}")]
    Sysctl {
        /// Which.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel side does not hold the pod (any more).
    #[error("the pod was taken out of the kernel while it was being enrolled")]
    NotEnrolled,
    /// ztunnel says that it serves the pod, but none of its listeners is known.
    #[error("ztunnel's listeners in the pod are not known yet")]
    NoListeners,
    /// The kernel does not list the pod's sockets.
    #[error(
        "the sockets in the pod cannot be listed: {0}; the kernel needs CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG"
    )]
    SocketTable(io::Error),
    /// ztunnel's listener takes no connections to addresses that are not the pod's.
    #[error(
        "ztunnel's listener on port {port} is not transparent (ENABLE_ORIG_SRC=false) and cannot be made so: {source}; take that setting from ztunnel, or give the agent SYS_PTRACE and the node's processes (hostPID)"
    )]
    Opaque {
        /// The listener's.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// ztunnel's listener speaks by loopback alone, and virtual machines do not come by it.
    #[error(
        "ztunnel's outbound listener cannot be freed from loopback, which virtual machines do not come by: {0}; give the agent NET_RAW, SYS_PTRACE and the node's processes (hostPID)"
    )]
    Bound(io::Error),
    /// A listener of ztunnel's takes no setting.
    #[error(
        "a listener of ztunnel's in the pod cannot be set up (SO_REUSEADDR): {0}; a security module may forbid it"
    )]
    Listener(io::Error),
    /// The facts of a network cannot be read.
    #[error(transparent)]
    Wiring(#[from] weir_netdetect::read::ReadError),
    /// The kernel does not tell its version.
    #[error(transparent)]
    Kernel(weir_netdetect::facts::KernelError),
    /// The pod's connections do not pass an interface of the node.
    #[error("the pod's connections cannot be redirected on the node: {why}")]
    NoHostSide {
        /// Why, and what would help.
        why: String,
    },
    /// The node has no ztunnel.
    #[error("no ztunnel listens on this node in a network namespace of its own")]
    NoZtunnel,
    /// There is no interface by which ztunnel could be handed anything.
    #[error("ztunnel has no interface with a peer on the node: give it a veth or netkit interface")]
    ZtunnelWithoutPeer,
    /// All slots are taken.
    #[error(
        "there is no room for another ztunnel: {} are known",
        weir_common::ztunnel::SLOTS
    )]
    TooManyZtunnels,
    /// The node's interfaces cannot be listed.
    #[error("the node's interfaces cannot be listed: {0}")]
    Interfaces(io::Error),
    /// The kernel gives no random numbers.
    #[error("/dev/urandom: {0}")]
    Random(io::Error),
    /// The pod has no address to capture for.
    #[error("the pod's network namespace has no address yet")]
    NoAddress,
}

impl EnrollError {
    /// Wraps a netlink error with the step it happened in.
    pub(crate) fn netlink(step: &'static str) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |source| Self::Netlink { step, source }
    }

    pub(super) fn refused(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Refused { step, source }
    }
}
