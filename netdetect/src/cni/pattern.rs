//! What a plugin is known by.

use std::fmt;
use std::net::Ipv4Addr;

/// One thing that a plugin is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The runtime is configured to call a plugin of this type.
    Plugin(&'static str),
    /// The peer's name begins like this.
    Peer(&'static str),
    /// The peer is in no namespace that is the node's.
    PeerElsewhere,
    /// The peer is a port of this bridge.
    PeerOnBridge(&'static str),
    /// The peer is a port of some bridge.
    PeerOnAnyBridge,
    /// The node has an interface whose name begins like this.
    NodeInterface(&'static str),
    /// The pod's interface is of a kind that no other plugin makes.
    Kind(&'static str),
    /// The pod's gateway.
    Gateway(Ipv4Addr),
    /// The node has a rule of this preference for one of the pod's addresses.
    RuleForPod(u32),
    /// The node has a route to one of the pod's addresses by the peer.
    RouteByPeer,
}

impl Pattern {
    /// How much it says: others may do so too (1), or hardly anybody (2).
    #[must_use]
    pub const fn weight(self) -> u32 {
        match self {
            Self::Plugin(_)
            | Self::Peer(_)
            | Self::PeerElsewhere
            | Self::PeerOnBridge(_)
            | Self::NodeInterface(_)
            | Self::Kind(_)
            | Self::RuleForPod(_) => 2,
            Self::PeerOnAnyBridge | Self::Gateway(_) | Self::RouteByPeer => 1,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plugin(kind) => write!(f, "plugin `{kind}`"),
            Self::Peer(prefix) => write!(f, "peer `{prefix}*`"),
            Self::PeerElsewhere => f.write_str("peer in no namespace of the node"),
            Self::PeerOnBridge(bridge) => write!(f, "peer on bridge `{bridge}`"),
            Self::PeerOnAnyBridge => f.write_str("peer on a bridge"),
            Self::NodeInterface(prefix) => write!(f, "the node's `{prefix}`"),
            Self::Kind(kind) => write!(f, "interface of kind {kind}"),
            Self::Gateway(gateway) => write!(f, "gateway {gateway}"),
            Self::RuleForPod(preference) => write!(f, "rule {preference} for the pod"),
            Self::RouteByPeer => f.write_str("route to the pod by its peer"),
        }
    }
}
