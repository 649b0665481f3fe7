//! Why a path is taken or is not there, what would help, and what may get in the way: each with a word that stays and
//! a sentence for people.

use std::fmt;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::facts::{Clash, KernelVersion, Kind, Rule};

/// Why a path was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// ztunnel is in the pod.
    ZtunnelInPod,
    /// Virtual machines send by this interface.
    VirtualMachines,
    /// What virtual machines answer to was dialled at the pod's other interfaces.
    DialledElsewhere,
    /// Packets go to a process past all sockets.
    PastSockets,
    /// The interface has a peer on the node.
    HostPeer,
    /// ztunnel has no interface with a peer.
    ZtunnelWithoutPeer,
    /// ztunnel is on the same parent, and connections are made to it.
    SameParentSocket,
    /// ztunnel is on the same parent, and frames are sent to it.
    SameParentSteer,
    /// ztunnel is not on the same parent.
    OtherParent,
    /// No interface of the node sees the packets, but connections can be made to ztunnel.
    NoHostPeerOutbound {
        /// Of what kind the interface is.
        kind: Kind,
    },
    /// The pod's connections are redirected at another interface, and made to ztunnel at none.
    RedirectedElsewhere,
    /// No interface of the node sees the packets.
    NoHostPeerInbound {
        /// Of what kind the interface is.
        kind: Kind,
    },
    /// Nothing is known about interfaces like this.
    UnknownWiring {
        /// Of what kind the interface is.
        kind: Kind,
    },
    /// The pod has no interface that leads out.
    NoNetwork,
    /// The pod is on the node's network.
    HostNetwork,
    /// The kernel is too old.
    KernelTooOld {
        /// Its version.
        has: KernelVersion,
        /// What it takes.
        needs: KernelVersion,
    },
}

/// What would make possible what is not, or has to be for it to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A ztunnel with sockets in the pods.
    InPodContract,
    /// A macvlan in bridge mode, with ztunnel on the same parent; or ztunnel in the pods.
    BridgeMode,
    /// ztunnel has to be on the pod's parent.
    ZtunnelOnParent,
    /// ztunnel has to be reached by the pod.
    ZtunnelReachable,
    /// ztunnel needs an interface with a peer.
    ZtunnelPeer,
    /// Another kind of binding for the virtual machine.
    OtherBinding,
    /// An interface.
    Interface,
    /// A pod of its own network.
    OwnNetwork,
    /// A newer kernel.
    NewerKernel {
        /// At least.
        needs: KernelVersion,
    },
    /// Somebody who looks into it.
    Report,
}

/// What is odd about a pod, and may get in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caution {
    /// A routing rule gets in the way.
    Rule {
        /// The rule.
        rule: Rule,
        /// How.
        clash: Clash,
    },
    /// The pod has IPv6 addresses, but loopback has no IPv6.
    LoopbackWithoutIpv6,
    /// An interface of the pod leads elsewhere than its first, on another path.
    Divided {
        /// Its name.
        interface: String,
    },
    /// The node's interface does not reach its child, this one, and ztunnel answers by way of the node.
    BehindParent {
        /// The pod's interface.
        interface: String,
    },
    /// A program at an interface's peer on the node judges what the pod receives, and does not see what is redirected.
    PassedBy {
        /// The pod's interface.
        interface: String,
        /// The program's name.
        program: String,
    },
}

impl Why {
    /// A word that stays, for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::ZtunnelInPod => "ztunnel_in_pod",
            Self::VirtualMachines => "virtual_machines",
            Self::DialledElsewhere => "dialled_elsewhere",
            Self::PastSockets => "past_sockets",
            Self::HostPeer => "host_peer",
            Self::ZtunnelWithoutPeer => "ztunnel_without_peer",
            Self::SameParentSocket => "same_parent_socket",
            Self::SameParentSteer => "same_parent_steer",
            Self::OtherParent => "other_parent",
            Self::RedirectedElsewhere => "redirected_elsewhere",
            Self::NoHostPeerOutbound { .. } | Self::NoHostPeerInbound { .. } => "no_host_peer",
            Self::UnknownWiring { .. } => "unknown_wiring",
            Self::NoNetwork => "no_network",
            Self::HostNetwork => "host_network",
            Self::KernelTooOld { .. } => "kernel_too_old",
        }
    }
}

impl Caution {
    /// A word that stays, for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Rule { .. } => "rule",
            Self::LoopbackWithoutIpv6 => "loopback_without_ipv6",
            Self::Divided { .. } => "divided",
            Self::BehindParent { .. } => "behind_parent",
            Self::PassedBy { .. } => "passed_by",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZtunnelInPod => f.write_str(
                "ztunnel's sockets are in the pod, so it does not matter how the pod is connected",
            ),
            Self::VirtualMachines => f.write_str("virtual machines send by this interface"),
            Self::DialledElsewhere => {
                f.write_str("virtual machines are dialled by way of the pod's other interfaces")
            }
            Self::PastSockets => f.write_str("its packets go to a process past all sockets of the pod"),
            Self::HostPeer => f.write_str("all its packets pass its peer on the node"),
            Self::ZtunnelWithoutPeer => {
                f.write_str("ztunnel has no veth or netkit interface to which packets could be handed")
            }
            Self::SameParentSocket => f.write_str(
                "ztunnel is on the same parent in bridge mode: connections are made to it in the first place",
            ),
            Self::SameParentSteer => f.write_str(
                "ztunnel is on the same parent in bridge mode: frames are sent to its Ethernet address",
            ),
            Self::OtherParent => {
                f.write_str("ztunnel has no macvlan interface in bridge mode on the pod's parent")
            }
            Self::RedirectedElsewhere => f.write_str(
                "the pod's packets are redirected on the node at another interface, which sees none of these",
            ),
            Self::NoHostPeerOutbound { kind } => write!(
                f,
                "no interface of the node sees its packets ({kind}): connections are made to ztunnel in the first place"
            ),
            Self::NoHostPeerInbound { kind } => {
                write!(f, "no interface of the node sees its packets ({kind})")
            }
            Self::UnknownWiring { kind } => write!(f, "nothing is known about this wiring ({kind})"),
            Self::NoNetwork => f.write_str("the pod has no interface that leads out"),
            Self::HostNetwork => f.write_str("the pod is on the node's network, which is never captured"),
            Self::KernelTooOld { has, needs } => write!(f, "Linux {has} is too old: this takes {needs}"),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPodContract => f.write_str("a ztunnel with sockets in the pods (Istio 1.21 or newer)"),
            Self::BridgeMode => f.write_str(
                "macvlan in bridge mode with ztunnel on the same parent, or a ztunnel with sockets in the pods (Istio 1.21 or newer)",
            ),
            Self::ZtunnelOnParent => f.write_str(
                "an interface for ztunnel on the pod's parent, macvlan in bridge mode, or a ztunnel with sockets in the pods (Istio 1.21 or newer)",
            ),
            Self::ZtunnelReachable => f.write_str("ztunnel's address has to be one that the pod reaches"),
            Self::ZtunnelPeer => f.write_str("a veth or netkit interface for ztunnel"),
            Self::OtherBinding => f.write_str("a binding of the virtual machine that goes through the pod's own network stack"),
            Self::Interface => f.write_str("an interface; the pod is looked at again when one comes"),
            Self::OwnNetwork => f.write_str("a pod without hostNetwork"),
            Self::NewerKernel { needs } => write!(f, "Linux {needs} or newer"),
            Self::Report => f.write_str("report it, with what `weir detect -o json` prints"),
        }
    }
}

impl fmt::Display for Caution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { rule, clash } => rule_text(rule, *clash, f),
            Self::LoopbackWithoutIpv6 => f.write_str(
                "the pod has IPv6 addresses but no IPv6 on loopback, over which connections are led, so those by IPv6 go nowhere: set net.ipv6.conf.lo.disable_ipv6=0 in it",
            ),
            Self::Divided { interface } => write!(
                f,
                "connections by {interface} take another path than those by the pod's first interface"
            ),
            Self::BehindParent { interface } => write!(
                f,
                "nothing gets to {interface} from the node's interface that it is a child of: what ztunnel answers takes a route on the node to the pod's addresses by a router of the LAN"
            ),
            Self::PassedBy { interface, program } => write!(
                f,
                "the program {program} at the node's end of {interface} does not see what the pod receives by way of ztunnel: if it enforces policies, express those as ztunnel's (AuthorizationPolicy)"
            ),
        }
    }
}

fn rule_text(rule: &Rule, clash: Clash, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "the routing rule {} to table {}", rule.preference, rule.table)?;
    if let Some(mark) = rule.mark {
        write!(f, " for mark {mark:#x}/{:#x}", rule.mask.unwrap_or(u32::MAX))?;
    }
    f.write_str(match clash {
        Clash::Preference => " has a preference that Weir needs: give it another one",
        Clash::Before => " is asked before Weir's and takes its packets: give it a preference above 17",
        Clash::After => " asks for a mark that Weir uses; Weir's rules are asked first",
    })
}

impl Serialize for Caution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut caution = serializer.serialize_struct("Caution", 2)?;
        caution.serialize_field("reason", self.word())?;
        caution.serialize_field("what", &self.to_string())?;
        caution.end()
    }
}
