//! Who takes part: pods, hosts, and the servers that all of them talk to.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::ContractName;
use super::pair::Pair;
use crate::mesh::{Builder, Mesh, ZTUNNEL};
use crate::netns::Netns;
use crate::traffic::{Failure, Server, ServerSpec};
use crate::world::{Addresses, Family, Wiring, World};

pub(super) const VETH_A: &str = "veth-a";
pub(super) const VETH_B: &str = "veth-b";
pub(super) const MACVLAN_A: &str = "macvlan-a";
pub(super) const MACVLAN_B: &str = "macvlan-b";
pub(super) const OUTSIDE: &str = "outside";
pub(super) const NODE: &str = "node";
pub(super) const REMOTE: &str = "remote";

/// Everybody, where the proxy has its sockets in the pods.
const IN_POD: &[&str] = &[VETH_A, VETH_B, MACVLAN_A, MACVLAN_B, OUTSIDE, NODE, REMOTE];
/// Everybody, where it has a pod of its own.
const OF_NODE: &[&str] = &[
    VETH_A, VETH_B, MACVLAN_A, MACVLAN_B, OUTSIDE, ZTUNNEL, NODE, REMOTE,
];

/// Where every server listens.
pub(super) const PORT: u16 = 8080;

/// The mesh, to be started.
pub(super) fn mesh(family: Family, contract: ContractName) -> Builder {
    let mesh = Mesh::builder("demo")
        .family(family)
        .wiring(Wiring::PointToPoint)
        .enrolled(VETH_A)
        .enrolled(VETH_B)
        .outside(OUTSIDE)
        .wiring(Wiring::MacvlanBridge)
        .enrolled(MACVLAN_A)
        .enrolled(MACVLAN_B);
    match contract {
        ContractName::InPod => mesh,
        // ztunnel is beside both kinds of pods. Steered, pods on macvlan keep their address as the others do.
        ContractName::Node => mesh
            .ztunnel_outside(Wiring::PointToPoint)
            .interface(ZTUNNEL, "net1", Wiring::MacvlanBridge)
            .hairpin()
            .flag("--contract=node")
            .flag("--macvlan-outbound=steer"),
    }
}

/// Who is there.
pub(super) const fn all(contract: ContractName) -> &'static [&'static str] {
    match contract {
        ContractName::InPod => IN_POD,
        ContractName::Node => OF_NODE,
    }
}

/// The servers. They start before the pods are in the mesh and never notice that they are.
#[derive(Debug)]
pub(super) struct Cast {
    _servers: Vec<Server>,
}

impl Cast {
    pub(super) fn start(world: &World, pairs: &[&Pair]) -> Result<Self, Failure> {
        let names: BTreeSet<_> = pairs.iter().map(|pair| pair.to).collect();
        let servers = names.into_iter().flat_map(|name| {
            addresses(world, name).iter().map(move |address| {
                let spec = ServerSpec::new(name, SocketAddr::new(address, PORT));
                Server::start(netns(world, name), &spec)
            })
        });
        Ok(Self {
            _servers: servers.collect::<Result<_, _>>()?,
        })
    }
}

pub(super) fn netns<'a>(world: &'a World, name: &str) -> &'a Netns {
    match name {
        NODE => &world.node.netns,
        REMOTE => &world.remote.netns,
        pod => &world.pod(pod).netns,
    }
}

pub(super) fn addresses(world: &World, name: &str) -> Addresses {
    match name {
        NODE => world.node.addresses,
        REMOTE => world.remote.addresses,
        pod => world.pod(pod).addresses(),
    }
}
