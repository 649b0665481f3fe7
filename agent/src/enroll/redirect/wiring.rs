//! Where the interfaces of a pod come out on the node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use weir_netdetect::choose::{ChoiceConfig, Contract, Path, Plan, Ztunnel, choose};
use weir_netdetect::facts::{self, KernelFacts, Kind, Place, PodFacts};
use weir_netdetect::read::{self, Known};

use crate::datapath::{Interface, Link};
use crate::enroll::EnrollError;

/// An interface of a pod and its other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    /// The end in the pod.
    pub inner: Interface,
    /// The end on the node.
    pub peer: Interface,
    /// Ethernet address of the end in the pod.
    pub mac: [u8; 6],
    /// Ethernet address to which the pod sends what leaves its subnet.
    pub gateway: [u8; 6],
    /// The bridge that the end on the node is a port of.
    pub bridge: Option<u32>,
    /// Addresses that connections over it have at the pod's end.
    pub addresses: Vec<IpAddr>,
}

/// Reads where the interfaces of a pod come out, if that is how its connections can be redirected.
///
/// # Errors
/// [`EnrollError::Wiring`] if the facts cannot be read, [`EnrollError::NoHostSide`] with what would help.
pub fn of_pod(netns: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<Vec<Joint>, EnrollError> {
    let facts = read::pod(netns, &Known::new(host))?;
    let config = ChoiceConfig {
        ztunnel: Some(Ztunnel {
            has_host_peer: true,
            macvlan_parents: Vec::new(),
        }),
        ..ChoiceConfig::default()
    };
    let kernel = KernelFacts::of_this_kernel().map_err(EnrollError::Kernel)?;
    let plan = choose(&facts, Contract::Node, &kernel, &config);
    for leg in [&plan.outbound, &plan.inbound] {
        if leg.path != Path::Tc {
            let remedy = leg
                .remedy
                .as_ref()
                .map_or_else(String::new, |remedy| format!("; it takes {remedy}"));
            return Err(EnrollError::NoHostSide {
                why: format!("{}{remedy}", leg.why),
            });
        }
    }
    joints(&facts, &plan, host)
}

/// The same for ztunnel's own netns: its first interface.
///
/// # Errors
/// [`EnrollError::Wiring`], [`EnrollError::ZtunnelWithoutPeer`].
pub fn of_ztunnel(netns: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<Joint, EnrollError> {
    let facts = read::pod(netns, &Known::new(host))?;
    let nodes = interfaces_of_node(host)?;
    let primary = facts.primary().ok_or(EnrollError::ZtunnelWithoutPeer)?;
    joint(primary, other_addresses(&facts), &nodes).ok_or(EnrollError::ZtunnelWithoutPeer)
}

fn joints(facts: &PodFacts, plan: &Plan, host: BorrowedFd<'_>) -> Result<Vec<Joint>, EnrollError> {
    let nodes = interfaces_of_node(host)?;
    let by_tc = |index: u32| {
        let mut plans = plan.interfaces.iter();
        plans.any(|plan| plan.index == index && plan.outbound.path == Path::Tc)
    };
    let mut joints = Vec::new();
    for interface in facts.interfaces.iter().filter(|interface| by_tc(interface.index)) {
        let others = if Some(interface.index) == plan.primary {
            other_addresses(facts)
        } else {
            Vec::new()
        };
        joints.extend(joint(interface, others, &nodes));
    }
    Ok(joints)
}

type Nodes = BTreeMap<u32, facts::Interface>;

fn interfaces_of_node(host: BorrowedFd<'_>) -> Result<Nodes, EnrollError> {
    let facts = read::pod(host, &Known::new(host))?;
    let interfaces = facts.interfaces.into_iter();
    Ok(interfaces.map(|interface| (interface.index, interface)).collect())
}

/// Addresses on interfaces that lead nowhere, such as service addresses on loopback: connections of theirs go by the
/// first interface.
fn other_addresses(facts: &PodFacts) -> Vec<IpAddr> {
    let inner = facts.interfaces.iter().filter(|interface| !interface.leads_out());
    inner.flat_map(usable).collect()
}

fn usable(interface: &facts::Interface) -> impl Iterator<Item = IpAddr> {
    let addresses = interface.addresses.iter().map(ipnetwork::IpNetwork::ip);
    addresses.filter(|address| match address {
        IpAddr::V4(v4) => !v4.is_loopback(),
        // Not unique on the node.
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    })
}

fn joint(interface: &facts::Interface, others: Vec<IpAddr>, nodes: &Nodes) -> Option<Joint> {
    let far_end = interface
        .far_end
        .as_ref()
        .filter(|end| end.place == Place::Host)?;
    let peer = nodes.get(&far_end.index)?;
    let bridge = peer
        .controller
        .and_then(|index| nodes.get(&index))
        .filter(|controller| controller.kind == Kind::Bridge);
    let gateway = bridge.map_or(peer.mac, |bridge| bridge.mac)?;
    Some(Joint {
        inner: ethernet(interface),
        peer: ethernet(peer),
        mac: interface.mac?.0,
        gateway: gateway.0,
        bridge: bridge.map(|bridge| bridge.index),
        addresses: usable(interface).chain(others).collect(),
    })
}

fn ethernet(interface: &facts::Interface) -> Interface {
    Interface {
        index: interface.index,
        name: interface.name.clone(),
        link: Link::Ethernet,
    }
}
