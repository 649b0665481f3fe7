//! The node.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Attached, DefaultRoutes, Interface, Kind, NetnsId, PodFacts, Route, Rule};

/// What there is in the node's own network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Which it is.
    pub netns: NetnsId,
    /// Its interfaces, by index; the peers of pods' interfaces and their bridges among them.
    pub interfaces: Vec<Interface>,
    /// Its default routes, and its routes to single addresses, which is what pods have.
    pub routes: Vec<Route>,
    /// The interfaces that carry its default routes.
    pub default_routes: DefaultRoutes,
    /// Its routing rules but for the three that every namespace begins with.
    pub rules: Vec<Rule>,
    /// Programs at its interfaces, in the order in which packets meet them.
    pub programs: Vec<Attached>,
    /// Settings that decide what becomes of packets.
    pub settings: Settings,
    /// What istio-cni has left.
    pub leftovers: Vec<Leftover>,
    /// What could not be looked at, and why.
    pub unread: Vec<String>,
}

/// Settings of the node; nothing for those that its kernel does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether IPv4 packets are forwarded.
    pub forward_v4: Option<bool>,
    /// Whether IPv6 packets are forwarded.
    pub forward_v6: Option<bool>,
    /// The check of IPv4 source addresses at all interfaces: 0 off, 1 strict, 2 loose.
    pub rp_filter: Option<u8>,
    /// The same, for interfaces that come.
    pub rp_filter_default: Option<u8>,
    /// Whether that check heeds marks.
    pub src_valid_mark: Option<bool>,
    /// Whether iptables sees the IPv4 packets of bridges.
    pub bridge_iptables: Option<bool>,
    /// Whether ip6tables sees the IPv6 packets of bridges.
    pub bridge_ip6tables: Option<bool>,
}

/// Something of istio-cni's that is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Leftover {
    /// A chain of rules.
    Chain {
        /// The table that it is in.
        table: String,
        /// Its name.
        chain: String,
    },
    /// A set of addresses.
    AddressSet {
        /// Its name.
        name: String,
    },
    /// A file of CNI configuration that calls it.
    Configuration {
        /// The file.
        path: PathBuf,
    },
}

impl NodeFacts {
    /// The interface of this index.
    #[must_use]
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        let at = self
            .interfaces
            .binary_search_by_key(&index, |interface| interface.index);
        at.ok().and_then(|at| self.interfaces.get(at))
    }

    /// Programs at the interface of this index.
    pub fn programs_at(&self, index: u32) -> impl Iterator<Item = &Attached> {
        self.programs
            .iter()
            .filter(move |attached| attached.interface == index)
    }

    /// Writes down the names of a pod's peers and parents on this node.
    pub fn name_far_ends(&self, pod: &mut PodFacts) {
        for interface in &mut pod.interfaces {
            let far = interface.host_peer().or(interface.host_parent());
            let Some(named) = far.and_then(|index| self.interface(index)) else {
                continue;
            };
            if let Some(far_end) = &mut interface.far_end {
                far_end.name = Some(named.name.clone());
            }
        }
    }

    /// Whether the node is itself a container: its way out is one end of a pair.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        let out = self.default_routes.v4.or(self.default_routes.v6);
        let Some(out) = out.and_then(|index| self.interface(index)) else {
            return false;
        };
        let ports = self
            .interfaces
            .iter()
            .filter(|port| port.controller == Some(out.index));
        std::iter::once(out)
            .chain(ports)
            .any(|interface| interface.kind == Kind::Veth && interface.leads_out())
            && !matches!(out.kind, Kind::Bridge)
    }
}

impl Leftover {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Chain { .. } | Self::AddressSet { .. } => {
                "it goes with a restart of the node, or remove it by hand once istio-cni is uninstalled"
            }
            Self::Configuration { .. } => {
                "uninstall istio-cni, or remove it from this file: until then new pods are captured twice, or not started"
            }
        }
    }
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Chain { table, chain } => write!(f, "chain {chain} in table {table}"),
            Self::AddressSet { name } => write!(f, "address set {name}"),
            Self::Configuration { path } => write!(f, "CNI configuration {}", path.display()),
        }
    }
}
