//! The plugins that are known, and what each is known by. `docs/cni.md` is made from this.

use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::Pattern::{
    self, Gateway, Kind, NodeInterface, Peer, PeerElsewhere, PeerOnAnyBridge, PeerOnBridge, Plugin,
    RouteByPeer, RuleForPod,
};

const LINK_LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// A plugin, or what looks like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cni {
    /// Calico.
    Calico,
    /// Azure CNI, transparent.
    AzureTransparent,
    /// Azure CNI, bridge mode.
    AzureBridge,
    /// AWS VPC CNI.
    AwsVpc,
    /// GKE's own.
    Gke,
    /// Cilium.
    Cilium,
    /// Flannel.
    Flannel,
    /// Antrea.
    Antrea,
    /// OVN-Kubernetes.
    OvnKubernetes,
    /// The reference plugin `bridge`, or one that does the same.
    Bridge,
    /// The reference plugin `ptp`, which kindnet calls, or one that does the same.
    PointToPoint,
    /// The reference plugin `macvlan`, or one that does the same.
    Macvlan,
    /// The reference plugin `ipvlan`, or one that does the same.
    Ipvlan,
    /// The reference plugin `vlan`, or one that does the same.
    Vlan,
    /// A device moved into the pod: `host-device`, `sriov`.
    Device,
    /// None of these.
    Unknown,
}

/// How a plugin's wiring was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// With the real plugin.
    Plugin,
    /// Built as the plugin builds it; the plugin itself never ran.
    Simulated,
    /// Not at all: known from its documentation.
    Not,
}

/// What a plugin is known by.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// The plugin.
    pub cni: Cni,
    /// Kinds of interfaces that it makes in pods, by [`crate::facts::Kind::word`].
    pub kinds: &'static [&'static str],
    /// What it is known by.
    pub patterns: &'static [Pattern],
    /// How it was tried.
    pub tried: Tried,
}

const VETH: &[&str] = &["veth"];

/// All plugins that are known, those first that are taken where nothing speaks more for another.
pub const TABLE: [Signature; 15] = [
    Signature {
        cni: Cni::Bridge,
        kinds: VETH,
        patterns: &[Plugin("bridge"), PeerOnAnyBridge],
        tried: Tried::Plugin,
    },
    Signature {
        cni: Cni::PointToPoint,
        kinds: VETH,
        patterns: &[Plugin("ptp"), RouteByPeer],
        tried: Tried::Plugin,
    },
    Signature {
        cni: Cni::Calico,
        kinds: VETH,
        patterns: &[Plugin("calico"), Peer("cali"), Gateway(LINK_LOCAL), RouteByPeer],
        tried: Tried::Simulated,
    },
    Signature {
        cni: Cni::AzureBridge,
        kinds: VETH,
        patterns: &[Plugin("azure-vnet"), Peer("azv"), PeerOnBridge("azure0")],
        tried: Tried::Simulated,
    },
    Signature {
        cni: Cni::AzureTransparent,
        kinds: VETH,
        patterns: &[
            Plugin("azure-vnet"),
            Peer("azv"),
            Gateway(LINK_LOCAL),
            RouteByPeer,
        ],
        tried: Tried::Simulated,
    },
    Signature {
        cni: Cni::AwsVpc,
        kinds: VETH,
        patterns: &[
            Plugin("aws-cni"),
            Peer("eni"),
            RuleForPod(512),
            RuleForPod(1536),
            Gateway(LINK_LOCAL),
            RouteByPeer,
        ],
        tried: Tried::Simulated,
    },
    Signature {
        cni: Cni::Gke,
        kinds: VETH,
        patterns: &[Plugin("ptp"), Peer("gke"), RouteByPeer],
        tried: Tried::Simulated,
    },
    Signature {
        cni: Cni::Cilium,
        kinds: &["veth", "netkit"],
        patterns: &[Plugin("cilium-cni"), Peer("lxc"), NodeInterface("cilium_host")],
        tried: Tried::Simulated,
    },
    Signature {
        cni: Cni::Flannel,
        kinds: VETH,
        patterns: &[Plugin("flannel"), NodeInterface("flannel."), PeerOnAnyBridge],
        tried: Tried::Simulated,
    },
    Signature {
        cni: Cni::Antrea,
        kinds: VETH,
        patterns: &[
            Plugin("antrea"),
            NodeInterface("antrea-gw0"),
            PeerOnBridge("ovs-system"),
        ],
        tried: Tried::Not,
    },
    Signature {
        cni: Cni::OvnKubernetes,
        kinds: VETH,
        patterns: &[
            Plugin("ovn-k8s-cni-overlay"),
            NodeInterface("ovn-k8s-mp0"),
            PeerOnBridge("ovs-system"),
        ],
        tried: Tried::Not,
    },
    Signature {
        cni: Cni::Macvlan,
        kinds: &["macvlan", "macvtap"],
        patterns: &[Plugin("macvlan"), Kind("macvlan")],
        tried: Tried::Plugin,
    },
    Signature {
        cni: Cni::Ipvlan,
        kinds: &["ipvlan"],
        patterns: &[Plugin("ipvlan"), Kind("ipvlan")],
        tried: Tried::Plugin,
    },
    Signature {
        cni: Cni::Vlan,
        kinds: &["vlan"],
        patterns: &[Plugin("vlan"), Kind("vlan")],
        tried: Tried::Plugin,
    },
    Signature {
        cni: Cni::Device,
        kinds: &["device", "veth"],
        patterns: &[
            Plugin("host-device"),
            Plugin("sriov"),
            Kind("device"),
            PeerElsewhere,
        ],
        tried: Tried::Plugin,
    },
];

impl Cni {
    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calico => "Calico",
            Self::AzureTransparent => "Azure CNI, transparent",
            Self::AzureBridge => "Azure CNI, bridge mode",
            Self::AwsVpc => "AWS VPC CNI",
            Self::Gke => "GKE",
            Self::Cilium => "Cilium",
            Self::Flannel => "flannel",
            Self::Antrea => "Antrea",
            Self::OvnKubernetes => "OVN-Kubernetes",
            Self::Bridge => "bridge",
            Self::PointToPoint => "point-to-point",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Vlan => "vlan",
            Self::Device => "a device moved in",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Cni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plugin => "with the real plugin",
            Self::Simulated => "simulated",
            Self::Not => "not tried",
        })
    }
}
