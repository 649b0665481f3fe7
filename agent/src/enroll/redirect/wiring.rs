//! Where the interfaces of a pod come out on the node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use weir_netdetect::choose::{ChoiceConfig, Contract, Leg, Path, choose};
use weir_netdetect::facts::{self, KernelFacts, Kind, MacvlanMode, NetnsId, PodFacts, Route};
use weir_netdetect::read::{self, Known};

use crate::datapath::{Interface, Link};
use crate::enroll::wiring::{told, uncaptured};
use crate::enroll::{EnrollError, Way, netlink};

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

/// An interface of a pod or of ztunnel whose parent is on the node: frames get there by Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The interface.
    pub inner: Interface,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// The parent.
    pub parent: Interface,
    /// Routers that it is the default way to.
    pub gateways: Vec<IpAddr>,
    /// Addresses that connections over it have at this end.
    pub addresses: Vec<IpAddr>,
}

/// The table in which routes are that say nothing else.
pub(super) const MAIN: u32 = 254;

/// How a pod's connections can be redirected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// By interfaces of the node.
    pub joints: Vec<Joint>,
    /// By Ethernet address.
    pub beside: Vec<Beside>,
    /// The pod's own connections are made to ztunnel in the first place.
    pub detour: bool,
    /// Interfaces of which a direction cannot be redirected, and why.
    pub uncaptured: Vec<String>,
    /// What may get in the way.
    pub cautions: Vec<String>,
    /// What is told of it.
    pub way: Option<Way>,
}

/// Where ztunnel takes connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// By an interface of the node.
    pub joint: Option<Joint>,
    /// By Ethernet address.
    pub beside: Option<Beside>,
}

/// Reads how a pod's connections can be redirected.
///
/// # Errors
/// [`EnrollError::Wiring`] if the facts cannot be read, [`EnrollError::NoHostSide`] with what would help.
pub fn of_pod(
    netns: BorrowedFd<'_>,
    host: BorrowedFd<'_>,
    config: &ChoiceConfig,
) -> Result<Reach, EnrollError> {
    let (facts, nodes) = both_sides(netns, host)?;
    let kernel = KernelFacts::of_this_kernel().map_err(EnrollError::Kernel)?;
    let plan = choose(&facts, Contract::Node, &kernel, config);
    let mut reach = Reach::default();
    for planned in &plan.interfaces {
        let is_primary = Some(planned.index) == plan.primary;
        let found = facts.interfaces.iter().find(|found| found.index == planned.index);
        let Some(interface) = found else { continue };
        let others = if is_primary {
            other_addresses(&facts)
        } else {
            Vec::new()
        };
        match (planned.outbound.path, planned.inbound.path) {
            (Path::Tc, Path::Tc) => reach.joints.extend(joint(interface, others, &nodes)),
            (outbound @ (Path::Socket | Path::Steer), Path::Steer) => {
                reach
                    .beside
                    .extend(beside(interface, others, (&nodes, &facts.routes)));
                reach.detour |= outbound == Path::Socket;
            }
            (Path::Socket, _) => {
                reach.detour = true;
                reach
                    .uncaptured
                    .push(uncaptured("to", &interface.name, &planned.inbound));
            }
            _ if is_primary && !plan.captures_any() => return Err(no_way(&planned.inbound)),
            _ => reach
                .uncaptured
                .push(uncaptured("by", &interface.name, &planned.outbound)),
        }
    }
    if plan.primary.is_none() {
        return Err(no_way(&plan.inbound));
    }
    reach.cautions = plan.cautions.iter().map(ToString::to_string).collect();
    reach.way = Way::of(&plan);
    Ok(reach)
}

/// Reads where ztunnel takes connections: by its first interface that has a peer on the node, and by one whose parent is
/// there.
///
/// # Errors
/// [`EnrollError::Wiring`], [`EnrollError::ZtunnelWithoutPeer`].
pub fn of_ztunnel(netns: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<Site, EnrollError> {
    let (facts, nodes) = both_sides(netns, host)?;
    let primary = facts.primary();
    let others = |interface: &facts::Interface| match primary {
        Some(primary) if primary.index == interface.index => other_addresses(&facts),
        _ => Vec::new(),
    };
    let site = Site {
        joint: primary
            .into_iter()
            .chain(&facts.interfaces)
            .find_map(|interface| joint(interface, others(interface), &nodes)),
        beside: facts
            .interfaces
            .iter()
            .filter(|interface| is_switched(&interface.kind))
            .find_map(|interface| beside(interface, others(interface), (&nodes, &facts.routes))),
    };
    if site.joint.is_none() && site.beside.is_none() {
        return Err(EnrollError::ZtunnelWithoutPeer);
    }
    Ok(site)
}

/// Whether interfaces of this kind on one parent reach each other by Ethernet address.
fn is_switched(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Macvlan {
            mode: MacvlanMode::Bridge
        }
    )
}

fn no_way(leg: &Leg) -> EnrollError {
    EnrollError::NoHostSide { why: told(leg) }
}

type Nodes = BTreeMap<u32, facts::Interface>;

/// A namespace, and what of the node its interfaces lead to.
fn both_sides(netns: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<(PodFacts, Nodes), EnrollError> {
    let id = NetnsId::of(netns).map_err(read::ReadError::Identify)?;
    let facts = netlink::run(netns, async |handle| {
        Ok(read::pod_with(handle, id, &Known::new(host)).await?)
    })?;
    let nodes = netlink::run(host, async |handle| Ok(read::far_ends(handle, &facts).await?))?;
    Ok((facts, nodes))
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
    // The parent of a macvlan is none: what is handed to it goes out to the LAN.
    let peer = nodes.get(&interface.host_peer()?)?;
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

fn beside(
    interface: &facts::Interface,
    others: Vec<IpAddr>,
    (nodes, routes): (&Nodes, &[Route]),
) -> Option<Beside> {
    let parent = nodes.get(&interface.host_parent()?)?;
    Some(Beside {
        inner: ethernet(interface),
        mac: interface.mac?.0,
        parent: ethernet(parent),
        gateways: gateways(interface.index, routes),
        addresses: usable(interface).chain(others).collect(),
    })
}

/// One per family, that of the main table.
fn gateways(interface: u32, routes: &[Route]) -> Vec<IpAddr> {
    let default = routes.iter().filter(|route| route.destination.is_none());
    default
        .filter(|route| route.interface == Some(interface) && route.table == MAIN)
        .filter_map(|route| route.gateway)
        .collect()
}

fn ethernet(interface: &facts::Interface) -> Interface {
    Interface {
        index: interface.index,
        name: interface.name.clone(),
        link: Link::Ethernet,
    }
}
