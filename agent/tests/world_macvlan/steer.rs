//! Frames that are steered to ztunnel: nobody's address changes.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_common::tag;
use weir_testbeds::capture::Capture;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::mac::Mac;
use weir_testbeds::proxy::{Direction, Learnt, Outcome, Record};
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server, ServerSpec};

use crate::scene::Scene;

fn record(scene: &Scene, direction: Direction, client: SocketAddr) -> Record {
    let wanted = |record: &Record| record.direction == direction && record.peer == Some(client);
    scene.proxy.wait_for(PATIENCE, wanted).unwrap()
}

/// The server sees the client's own address, of a connection that is ztunnel's.
fn assert_captured(scene: &Scene, direction: Direction, seen: &Exchange, to: SocketAddr) {
    let record = record(scene, direction, seen.local);
    assert_eq!(record.original_destination, Some(to), "{record:?}");
    assert_eq!(record.learnt, Some(Learnt::LocalAddress));
    assert_eq!(record.outcome, Outcome::Connected);
    assert_eq!(seen.peer, to);
    assert_eq!(seen.server.peer.ip(), seen.local.ip());
    assert_ne!(seen.server.peer.port(), seen.local.port());
}

#[test]
fn what_a_pod_opens_goes_to_ztunnel_and_keeps_its_source() {
    let mut scene = Scene::steered("steer-out");
    for to in scene.servers() {
        let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        assert_captured(&scene, Direction::Outbound, &seen, to);
    }
    assert_eq!(
        (scene.count(Reason::Outbound), scene.count(Reason::FromZtunnel)),
        (2, 2)
    );
}

#[test]
fn what_comes_to_a_pod_goes_to_ztunnel_and_keeps_its_source() {
    for scene in [Scene::steered("steer-in"), Scene::both("steer-in-both")] {
        for address in scene.client.addresses {
            let to = SocketAddr::new(address, 9000);
            let _server = Server::start(&scene.client.netns, &ServerSpec::new("pod", to)).unwrap();
            let seen = Client::exchange(&scene.lan, &ClientSpec::to(to)).unwrap();
            assert_captured(&scene, Direction::Inbound, &seen, to);
        }
        assert_eq!(
            (scene.count(Reason::Inbound), scene.count(Reason::ToApplication)),
            (2, 2)
        );
    }
}

#[test]
fn pods_of_one_node_reach_each_other_by_way_of_ztunnel() {
    let mut scene = Scene::steered("steer-neighbour");
    for address in scene.neighbour.addresses {
        let to = SocketAddr::new(address, 9000);
        let _server = Server::start(&scene.neighbour.netns, &ServerSpec::new("neighbour", to)).unwrap();
        let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        assert_captured(&scene, Direction::Outbound, &seen, to);
    }
}

/// What leaves the node is what ztunnel sends: in the pod's name, from ztunnel's interface.
#[test]
fn nothing_that_a_pod_sends_itself_is_seen_on_the_lan() {
    for mut scene in [Scene::steered("steer-lan"), Scene::both("steer-lan-both")] {
        let lan = Capture::start(&scene.lan, "eth0").unwrap();
        let pod = scene.client.interface.mac.unwrap();
        for to in scene.servers() {
            scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        }
        let frames = lan.frames();
        let syns = frames
            .iter()
            .filter(|frame| frame.tcp.is_some_and(|tcp| tcp.flags.syn && !tcp.flags.ack));
        assert_eq!(syns.clone().count(), 2);
        for frame in frames.iter().filter(|frame| frame.tcp.is_some()) {
            let Mac(source) = frame.source.unwrap();
            assert!(Mac(source) != pod && !tag::is_any(source), "{frame:?}");
        }
    }
}

#[test]
fn bulk_data_arrives_unaltered() {
    let scene = Scene::steered("steer-bulk");
    for to in scene.servers() {
        let mut connection = Client::connect(&scene.client.netns, &ClientSpec::to(to)).unwrap();
        connection.bulk(64 << 20).unwrap();
        connection.close().unwrap();
    }
}

#[test]
fn a_thousand_connections_are_open_at_once() {
    let mut scene = Scene::steered("steer-thousand");
    let [v4, v6] = scene.servers();
    let open: Vec<_> = (0..500)
        .flat_map(|_| [v4, v6])
        .map(|to| scene.actor.open(&ClientSpec::to(to)).unwrap())
        .collect();
    for held in &open {
        scene.actor.echo(held, "all at once").unwrap();
    }
    assert_eq!(scene.count(Reason::Outbound), 1000);
}

#[test]
fn the_programs_come_again_in_place_and_go_without_a_trace() {
    let mut scene = Scene::steered("steer-go");
    let [to, _] = scene.servers();
    scene.attach_steering();
    let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
    assert_captured(&scene, Direction::Outbound, &seen, to);
    for _ in 0..2 {
        scene.detach_steering();
    }
    let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
    assert_eq!(seen.server.peer, seen.local);
}

/// Two programs at one side of an interface, where each is a filter: neither takes the other's place.
#[test]
fn the_guard_and_steering_stand_beside_each_other_as_filters() {
    let mut scene = Scene::steered_by_filters("steer-filters");
    let [to, _] = scene.servers();
    let interfaces = scene.interfaces_of_client();
    for guarded in [&interfaces[..], &[]] {
        let (netns, cookie) = (scene.client.netns.as_fd(), scene.client.cookie);
        scene.datapath.attach_guard(netns, cookie, guarded).unwrap();
        let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        assert_captured(&scene, Direction::Outbound, &seen, to);
        // By the other contract the guard sees a connection that no hook has seen leave the pod.
        scene.set_entry(PodEntry::CAPTURING);
        let before = scene.count(Reason::Leaked);
        Client::exchange(&scene.client.netns, &ClientSpec::to(to)).unwrap();
        assert_eq!(scene.count(Reason::Leaked) > before, !guarded.is_empty());
        scene.set_entry(PodEntry::REDIRECTING);
        scene.attach_steering();
    }
    scene.detach_steering();
    let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
    assert_eq!(seen.server.peer, seen.local);
}
