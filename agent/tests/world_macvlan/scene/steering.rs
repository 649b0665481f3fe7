//! What it takes to steer the pods of the scene.

use std::net::IpAddr;
use std::os::fd::AsFd as _;

use weir_agent::datapath::{Interface, Link};
use weir_agent::inside;
use weir_common::flow::{Decided, Ends};
use weir_common::local_pod::LocalPod;
use weir_common::mark;
use weir_common::pod::PodEntry;
use weir_common::ztunnel::{NodeContract, ZtunnelPlace};
use weir_testbeds::actor::Held;
use weir_testbeds::mac::Mac;
use weir_testbeds::netns::Netns;
use weir_testbeds::route::Route;
use weir_testbeds::rule::Rule;
use weir_testbeds::traffic::Exchange;

use super::{Child, INTERFACE, PARENT, SECRET, Scene};

const TABLE: u32 = 100;

/// Brings everything in place, ztunnel's side first.
pub fn start(scene: &Scene) {
    start_with(scene, &[]);
}

/// The same, with connections of the client that are open already.
pub fn start_with(scene: &Scene, open: &[Held]) {
    deliver_locally(&scene.ztunnel.netns);
    attach(scene);
    fill(scene);
    for held in open {
        note(scene, &held.exchange);
    }
    for pod in [&scene.client, &scene.neighbour] {
        enrol(scene, pod);
    }
}

/// ztunnel's side first.
pub fn attach(scene: &Scene) {
    let (datapath, ztunnel) = (&scene.datapath, &scene.ztunnel);
    let own = [interface(&ztunnel.netns, INTERFACE)];
    datapath
        .attach_steering_of_ztunnel(ztunnel.netns.as_fd(), ztunnel.cookie, &own)
        .unwrap_or_else(|error| panic!("{error}: {error:#?}"));
    let node = inside::cookie(scene.node.as_fd()).unwrap();
    let parent = [interface(&scene.node, PARENT)];
    datapath.attach_fence(scene.node.as_fd(), node, &parent).unwrap();
    for pod in [&scene.client, &scene.neighbour] {
        let own = [interface(&pod.netns, INTERFACE)];
        datapath
            .attach_steering(pod.netns.as_fd(), pod.cookie, &own)
            .unwrap();
    }
}

/// The pods' side first.
pub fn detach(scene: &Scene) {
    let (datapath, ztunnel) = (&scene.datapath, &scene.ztunnel);
    for pod in [&scene.client, &scene.neighbour] {
        datapath
            .steer_exactly(pod.netns.as_fd(), pod.cookie, &[])
            .unwrap();
    }
    let node = inside::cookie(scene.node.as_fd()).unwrap();
    datapath.detach_fences(scene.node.as_fd(), node).unwrap();
    datapath
        .detach_steering_of_ztunnel(ztunnel.netns.as_fd(), ztunnel.cookie)
        .unwrap();
}

fn fill(scene: &Scene) {
    let maps = scene.datapath.maps();
    let Mac(mac) = scene.ztunnel.interface.mac.unwrap();
    let place = ZtunnelPlace {
        netns: scene.ztunnel.cookie,
        interface: 0,
        mac: [0; 6],
        steered: mac,
    };
    maps.places().unwrap().set(0, place, 0).unwrap();
    let contract = NodeContract {
        current: 0,
        flags: 0,
        secret: SECRET,
        implied: 0,
    };
    maps.contract().unwrap().set(0, contract, 0).unwrap();
    local(scene, &scene.ztunnel, LocalPod::ZTUNNEL | LocalPod::STEERED);
    for pod in [&scene.client, &scene.neighbour] {
        local(scene, pod, LocalPod::STEERED);
    }
}

fn local(scene: &Scene, child: &Child, flags: u32) {
    let Mac(mac) = child.interface.mac.unwrap();
    let entry = LocalPod {
        netns: child.cookie,
        interface: 0,
        flags,
        mac,
        gateway: [0; 6],
        reserved: 0,
    };
    let mut pods = scene.datapath.maps().local_pods().unwrap();
    for address in child.addresses {
        pods.insert(weir_common::address::Address::from(address), entry, 0)
            .unwrap();
    }
}

fn note(scene: &Scene, open: &Exchange) {
    let ends = Ends {
        peer: open.peer.ip().into(),
        pod: open.local.ip().into(),
        peer_port: open.peer.port(),
        pod_port: open.local.port(),
    };
    let passed = Decided {
        what: Decided::PASSED,
        ztunnel: 0,
        netns: scene.client.cookie,
    };
    scene.datapath.maps().remember([ends], passed).unwrap();
}

/// The pod's new connections are captured from here on.
pub fn enrol(scene: &Scene, pod: &Child) {
    let entry = PodEntry {
        flags: PodEntry::REDIRECTING,
        sysctls: 0,
    };
    let maps = scene.datapath.maps();
    maps.set_pod(pod.cookie, entry.into()).unwrap();
    maps.begin_era().unwrap();
}

pub fn interface(netns: &Netns, name: &str) -> Interface {
    let found = netns.netlink(async |link| link.interface(name).await).unwrap();
    Interface {
        index: found.index,
        name: found.name,
        link: Link::Ethernet,
    }
}

/// Redirected packets are delivered in ztunnel's netns, whatever their destination.
fn deliver_locally(netns: &Netns) {
    netns
        .netlink(async |link| {
            for (rule, like) in [(Rule::v4(15, TABLE), "0.0.0.0"), (Rule::v6(15, TABLE), "::")] {
                let like: IpAddr = like.parse().unwrap();
                link.add_rule(&rule.mark(mark::TO_ZTUNNEL, mark::MASK)).await?;
                link.add_route(&Route::local_everything(like).table(TABLE))
                    .await?;
            }
            Ok(())
        })
        .unwrap();
}
