//! What the tests share.

use std::os::fd::AsFd as _;

use weir_netdetect::choose::{ChoiceConfig, Contract, Path, Plan, choose};
use weir_netdetect::facts::{Interface, KernelFacts, KernelVersion, PodFacts};
use weir_netdetect::read::{self, Known};
use weir_testbeds::netns::Netns;
use weir_testbeds::world::{Attachment, World};

/// A kernel that can do everything: what the running one lacks is not the question here.
const KERNEL: KernelVersion = KernelVersion::new(6, 12);

/// The facts about a namespace of a world, whose node is the host.
pub fn facts_of(world: &World, netns: &Netns) -> PodFacts {
    read::pod(netns.as_fd(), &Known::new(world.node.netns.as_fd())).unwrap()
}

/// The facts about a pod.
pub fn facts(world: &World, pod: &str) -> PodFacts {
    facts_of(world, &world.pod(pod).netns)
}

/// The plan, with nothing known of ztunnel.
pub fn plan(facts: &PodFacts, contract: Contract) -> Plan {
    let config = ChoiceConfig::default();
    choose(facts, contract, &KernelFacts::of_version(KERNEL), &config)
}

/// Outbound and inbound path with the node contract.
pub fn node_paths(facts: &PodFacts) -> (Path, Path) {
    let plan = plan(facts, Contract::Node);
    (plan.outbound.path, plan.inbound.path)
}

/// The index of an interface of the node.
pub fn node_index(world: &World, name: &str) -> u32 {
    world
        .node
        .netns
        .netlink(async |netlink| netlink.interface(name).await)
        .unwrap()
        .index
}

/// What the world knows of an interface is what was read.
pub fn assert_matches(world: &World, read: &Interface, made: &Attachment) {
    assert_eq!(read.name, made.interface);
    assert_eq!(read.mac.map(|mac| mac.0), Some(made.mac.0));
    assert!(read.up);
    let global: Vec<_> = read
        .addresses
        .iter()
        .map(ipnetwork::IpNetwork::ip)
        .filter(|ip| !matches!(ip, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect();
    assert_eq!(global, made.addresses.iter().collect::<Vec<_>>());
    let peer = made.host_interface.as_deref().map(|name| node_index(world, name));
    assert_eq!(read.host_peer(), peer);
}
