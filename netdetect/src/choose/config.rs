//! What the choice depends on besides facts about the pod and the kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::facts::{Kind, MacvlanMode, PodFacts};

/// What ztunnel expects of whoever redirects connections to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contract {
    /// It has its sockets inside every pod (since Istio 1.21).
    InPod,
    /// It has its sockets in its own namespace.
    Node,
}

/// How connections of macvlan pods get to a ztunnel on the same parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MacvlanOutbound {
    /// The connection is made to ztunnel in the first place.
    #[default]
    Socket,
    /// Its packets are sent to ztunnel's Ethernet address.
    Steer,
}

/// Settings, and what is known of ztunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChoiceConfig {
    /// How connections of macvlan pods get to a ztunnel on the same parent.
    pub macvlan_outbound: MacvlanOutbound,
    /// Names of the interfaces in the pod behind which virtual machines are.
    pub virtual_interfaces: Vec<String>,
    /// Where the ztunnel of the node contract is. Nothing if that is not known (yet): then the plan takes it to be
    /// where it is of use, and says where that is.
    pub ztunnel: Option<Ztunnel>,
}

/// How the ztunnel of the node contract is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ztunnel {
    /// Whether it has an interface with a peer on the node, to which packets can be handed.
    pub has_host_peer: bool,
    /// Interfaces of the node, by index, of which it has a macvlan child in bridge mode.
    pub macvlan_parents: Vec<u32>,
}

impl Ztunnel {
    /// As facts about its namespace tell.
    #[must_use]
    pub fn of(facts: &PodFacts) -> Self {
        let is_child = |kind: &Kind| {
            matches!(
                kind,
                Kind::Macvlan {
                    mode: MacvlanMode::Bridge
                }
            )
        };
        Self {
            has_host_peer: facts
                .interfaces
                .iter()
                .any(|interface| interface.host_peer().is_some()),
            macvlan_parents: facts
                .interfaces
                .iter()
                .filter(|interface| is_child(&interface.kind))
                .filter_map(crate::facts::Interface::host_parent)
                .collect(),
        }
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InPod => "in-pod",
            Self::Node => "node",
        })
    }
}
