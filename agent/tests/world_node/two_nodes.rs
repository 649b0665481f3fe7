//! Two nodes, each with an agent and a ztunnel in a pod of its own, joined by their routers.

use std::net::SocketAddr;

use ipnetwork::IpNetwork;
use weir_testbeds::capture::Capture;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::link::Device;
use weir_testbeds::mesh::{Mesh, ZTUNNEL};
use weir_testbeds::netlink::Netlink;
use weir_testbeds::proxy::{Direction, Member, Outcome};
use weir_testbeds::route::Route;
use weir_testbeds::world::{Family, Host, Wiring};

use crate::scene::{HBONE, PORT, exchange, serve};

/// Where the pods of either node are, and its router on the link between them.
const PODS: [[&str; 2]; 2] = [
    ["10.244.0.0/24", "fd00:244::/64"],
    ["10.245.0.0/24", "fd00:245::/64"],
];
const ROUTERS: [[&str; 2]; 2] = [
    ["172.30.3.1/24", "fd30:3::1/64"],
    ["172.30.3.2/24", "fd30:3::2/64"],
];
const LINK: &str = "between";

fn node(name: &str, wiring: Wiring, pod: &str) -> Mesh {
    Mesh::builder(name)
        .wiring(wiring)
        .family(Family::Dual)
        .enrolled(pod)
        .ztunnel_outside(wiring)
        .start()
        .unwrap()
}

/// Each node's router leads to the other node's pods.
fn join(nodes: &[&mut Mesh; 2]) {
    let [one, other] = nodes.each_ref().map(|node| &node.world.remote);
    let device = Device::named(LINK);
    let link = async |link: Netlink| link.add_veth(&device, &device, &other.netns).await;
    one.netns.netlink(link).unwrap();
    other.netns.netlink(async |link| link.up(LINK).await).unwrap();
    for (here, there) in [(0, 1), (1, 0)] {
        let (router, node) = (&nodes[here].world.remote, &nodes[here].world.node);
        lead(router, node, ROUTERS[here], (PODS[there], ROUTERS[there]));
    }
}

fn lead(router: &Host, node: &Host, own: [&str; 2], (pods, by): ([&str; 2], [&str; 2])) {
    let work = async |link: Netlink| {
        for own in own {
            link.add_address(LINK, own.parse().unwrap()).await?;
        }
        link.link_local(LINK).await?;
        for (pods, by) in pods.into_iter().zip(by) {
            let (pods, by): (IpNetwork, IpNetwork) = (pods.parse().unwrap(), by.parse().unwrap());
            let before = node.address_like(pods.ip()).unwrap();
            link.delete_route(&Route::to(pods).via(before)).await?;
            link.add_route(&Route::to(pods).via(by.ip())).await?;
        }
        link.running(LINK).await.map(drop)
    };
    router.netns.netlink(work).unwrap();
}

/// Each ztunnel learns of the other node's pods.
fn introduce(nodes: &mut [&mut Mesh; 2]) {
    let all: Vec<_> = nodes.iter().map(|node| node.world.pods().to_vec()).collect();
    for (here, node) in nodes.iter_mut().enumerate() {
        let members = all.iter().enumerate().flat_map(|(there, pods)| {
            let pods = pods.iter().filter(|pod| pod.name != ZTUNNEL);
            pods.map(move |pod| Member {
                local: here == there,
                ..Member::of(pod)
            })
        });
        node.proxy.set_members(members.collect()).unwrap();
        node.proxy.wait_ready(PATIENCE).unwrap();
    }
}

#[test]
fn pods_of_two_nodes_meet_by_hbone() {
    let mut one = node("node-one-of-two", Wiring::Bridge, "client");
    let mut other = node("node-other-of-two", Wiring::PointToPoint, "server");
    join(&[&mut one, &mut other]);
    introduce(&mut [&mut one, &mut other]);
    let wire = Capture::start(&one.world.node.netns, &one.world.node.interface).unwrap();
    for (from, client, to, server) in [
        (&one, "client", &other, "server"),
        (&other, "server", &one, "client"),
    ] {
        let (client, server) = (from.pod(client), to.pod(server));
        let _application = serve(&server.netns);
        for address in server.addresses().iter() {
            let at = SocketAddr::new(address, PORT);
            let seen = exchange(&client.netns, at);
            assert_eq!(seen.server.peer.ip(), seen.local.ip(), "the client's address");
            let left = from.proxy.wait_for(PATIENCE, |record| {
                record.direction == Direction::Outbound && record.peer == Some(seen.local)
            });
            let left = left.unwrap();
            assert_eq!(left.upstream, Some(SocketAddr::new(address, HBONE)), "{left:?}");
            let arrived = to.proxy.wait_for(PATIENCE, |record| {
                record.direction == Direction::Hbone
                    && record.peer.is_some_and(|peer| peer.ip() == seen.local.ip())
            });
            assert_eq!(arrived.unwrap().outcome, Outcome::Connected);
        }
    }
    let syns = wire.tcp_syns();
    assert!(syns.len() >= 4, "{syns:?}");
    for syn in syns {
        assert_eq!(syn.destination.port(), HBONE, "in clear: {syn:?}");
    }
}
