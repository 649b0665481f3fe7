//! Where connections go, and what each end sees of them.

use std::net::{IpAddr, SocketAddr};

use weir_common::reason::Reason;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::proxy::{Direction, Learnt, Outcome, Record};
use weir_testbeds::traffic::{ClientSpec, Exchange, Server, ServerSpec};

use crate::scene::{Scene, ZTUNNEL};

/// The proxy's record of the connection that came from here.
fn record(scene: &Scene, client: SocketAddr) -> Record {
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    let wanted = |record: &Record| record.direction == Direction::Outbound && record.peer == Some(client);
    scene.proxy.wait_for(PATIENCE, wanted).unwrap()
}

fn assert_detoured(scene: &Scene, seen: &Exchange, to: SocketAddr) {
    let record = record(scene, seen.local);
    assert_eq!(record.original_destination, Some(to), "{record:?}");
    assert_eq!(record.learnt, Some(Learnt::SoOriginalDst));
    assert_eq!(record.outcome, Outcome::Connected);
    let peer = SocketAddr::new(seen.peer.ip().to_canonical(), seen.peer.port());
    assert_eq!(peer, to, "the application sees whom it asked for");
    let ztunnel: IpAddr = if to.is_ipv4() { ZTUNNEL[0] } else { ZTUNNEL[1] }
        .parse()
        .unwrap();
    assert_eq!(seen.server.peer.ip(), ztunnel, "the server sees ztunnel");
}

#[test]
fn connections_reach_their_destination_by_way_of_ztunnel() {
    let mut scene = Scene::detoured("detour-paths");
    for to in scene.servers() {
        let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        assert_detoured(&scene, &seen, to);
        let seen = scene.actor.exchange(&ClientSpec::to(to).nonblocking()).unwrap();
        assert_detoured(&scene, &seen, to);
    }
    assert_eq!(scene.count(Reason::Detoured), 4);
    assert_eq!(scene.count(Reason::ZtunnelSource), 4);
    scene.wait_for_nothing_remembered();
}

#[test]
fn an_ipv4_connection_of_an_ipv6_socket_is_one_of_ipv4() {
    let mut scene = Scene::detoured("detour-mapped");
    let [to, _] = scene.servers();
    let seen = scene.actor.exchange(&ClientSpec::to(to).v4_mapped()).unwrap();
    assert_detoured(&scene, &seen, to);
}

/// The kernel makes the TCP connection for it, and shows the application that one's peer.
#[test]
fn mptcp_makes_the_detour_as_tcp() {
    let mut scene = Scene::detoured("detour-mptcp");
    for to in scene.servers() {
        let seen = scene.actor.exchange(&ClientSpec::to(to).multipath()).unwrap();
        let record = record(&scene, seen.local);
        assert_eq!(record.original_destination, Some(to), "{record:?}");
    }
}

#[test]
fn a_socket_bound_to_a_device_or_an_address_makes_the_detour_too() {
    let mut scene = Scene::detoured("detour-bound");
    for (to, source) in scene.servers().into_iter().zip(scene.client.addresses) {
        for spec in [ClientSpec::to(to).device("eth0"), ClientSpec::to(to).from(source)] {
            let seen = scene.actor.exchange(&spec).unwrap();
            assert_detoured(&scene, &seen, to);
        }
    }
}

#[test]
fn pods_of_one_node_reach_each_other_by_way_of_ztunnel() {
    let mut scene = Scene::detoured("detour-neighbour");
    for address in scene.neighbour.addresses {
        let to = SocketAddr::new(address, 9000);
        let _server = Server::start(&scene.neighbour.netns, &ServerSpec::new("neighbour", to)).unwrap();
        let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        assert_detoured(&scene, &seen, to);
    }
}

#[test]
fn what_stays_in_the_pod_makes_no_detour() {
    let mut scene = Scene::detoured("detour-own");
    let loopback = ["127.0.0.1", "::1"].map(|text| text.parse().unwrap());
    for address in scene.client.addresses.into_iter().chain(loopback) {
        let to = SocketAddr::new(address, 9001);
        let _server = Server::start(&scene.client.netns, &ServerSpec::new("own", to)).unwrap();
        let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        assert_eq!((seen.peer, seen.server.peer), (to, seen.local));
    }
    assert_eq!(scene.count(Reason::Detoured), 0);
    assert_eq!(
        (scene.count(Reason::OwnAddress), scene.count(Reason::Loopback)),
        (2, 2)
    );
    assert_eq!(scene.proxy.connections(), []);
}

#[test]
fn a_pod_that_is_not_enrolled_is_left_alone() {
    let mut scene = Scene::detoured("detour-other");
    let cookie = scene.client.cookie;
    scene.datapath.maps().detours().unwrap().remove(&cookie).unwrap();
    for to in scene.servers() {
        let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        assert_eq!(seen.server.peer, seen.local);
    }
    assert_eq!(scene.proxy.connections(), []);
}

/// Each of the proxy's connections needs a port of its own while the application's are all open.
#[test]
fn a_thousand_connections_are_open_at_once() {
    let mut scene = Scene::detoured("detour-thousand");
    let [v4, v6] = scene.servers();
    let open: Vec<_> = (0..500)
        .flat_map(|_| [v4, v6])
        .map(|to| scene.actor.open(&ClientSpec::to(to)).unwrap())
        .collect();
    for held in &open {
        scene.actor.echo(held, "all at once").unwrap();
    }
    assert_eq!(scene.count(Reason::OriginalUnknown), 0);
    scene.wait_for_nothing_remembered();
}

#[test]
fn the_programs_come_again_in_place_and_go_without_a_trace() {
    let mut scene = Scene::detoured("detour-again");
    let [to, _] = scene.servers();
    let held = scene.actor.open(&ClientSpec::to(to)).unwrap();
    scene.attach();
    scene.actor.echo(&held, "still there").unwrap();
    let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
    assert_detoured(&scene, &seen, to);
    scene.datapath.detach_detours().unwrap();
    scene.datapath.detach_detours().unwrap();
    scene.actor.echo(&held, "open connections go on").unwrap();
    let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
    assert_eq!(seen.server.peer, seen.local);
    assert!(scene.datapath.maps().detours().is_err(), "the maps are gone");
}
