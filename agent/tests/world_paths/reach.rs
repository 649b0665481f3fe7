//! Between pods, and between pods and the world.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use weir_standin::preface::Connect;
use weir_testbeds::capture::Capture;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::proxy::Direction;
use weir_testbeds::traffic::Exchange;
use weir_testbeds::world::{Family, Wiring};

use crate::scene::{
    PORT, assert_inbound, assert_outbound, exchange, is_stand_in, mesh, remote, serve, serve_remote,
};

const HBONE: u16 = 15008;
/// How TLS answers to a client that speaks in clear begins.
const TLS_ALERT: u8 = 21;

on_every_wiring! {
    pods_speak_by_tunnel_and_see_each_other,
    the_world_is_reached_through_the_proxy,
    the_world_reaches_pods_through_the_proxy,
    pods_of_other_nodes_reach_the_tunnel_port,
    one_family_alone_is_enough,
}

on_other_veths! {
    pods_speak_by_tunnel_and_see_each_other,
    the_world_is_reached_through_the_proxy,
    the_world_reaches_pods_through_the_proxy,
}

on_lonely_wirings! {
    the_world_is_reached_through_the_proxy,
    the_world_reaches_pods_through_the_proxy,
}

fn pods_speak_by_tunnel_and_see_each_other(wiring: Wiring) {
    let mesh = mesh("tunnel", wiring);
    let arriving = Capture::start(&mesh.pod("server").netns, "eth0").unwrap();
    for address in mesh.pod("server").addresses().iter() {
        pod_to_pod(&mesh, SocketAddr::new(address, PORT));
    }
    let ports: Vec<_> = arriving
        .tcp_syns()
        .iter()
        .map(|syn| syn.destination.port())
        .collect();
    assert!(!ports.is_empty());
    assert!(ports.iter().all(|port| *port == HBONE), "clear text: {ports:?}");
}

fn pod_to_pod(mesh: &Mesh, to: SocketAddr) {
    let server = serve(&mesh.pod("server").netns, to);
    let seen = exchange(&mesh.pod("client").netns, to);
    let client = mesh.address("client", to.ip()).unwrap();
    assert_eq!(seen.local.ip(), client, "getsockname");
    assert_eq!(seen.server.peer.ip(), client, "the application sees its client");
    let sent = assert_outbound(mesh, &seen, to);
    assert_eq!(sent.upstream, Some(SocketAddr::new(to.ip(), HBONE)));
    let received = mesh.proxy.wait_for(PATIENCE, |record| {
        record.direction == Direction::Hbone && record.upstream == Some(to)
    });
    assert_eq!(received.unwrap().peer.unwrap().ip(), client);
    drop(server);
}

fn the_world_is_reached_through_the_proxy(wiring: Wiring) {
    let mesh = mesh("to-world", wiring);
    let _server = serve_remote(&mesh);
    for to in remote(&mesh) {
        pod_to_world(&mesh, to);
    }
}

fn pod_to_world(mesh: &Mesh, to: SocketAddr) {
    let leaving = Capture::start(&mesh.pod("client").netns, "eth0").unwrap();
    let seen = exchange(&mesh.pod("client").netns, to);
    let client = mesh.address("client", to.ip()).unwrap();
    assert_eq!(seen.local.ip(), client, "getsockname");
    assert_eq!(seen.server.peer.ip(), client, "the pod keeps its address");
    let sent = assert_outbound(mesh, &seen, to);
    assert_eq!(sent.upstream, Some(to));
    let syns = leaving.tcp_syns();
    let sources: Vec<_> = syns.iter().map(|syn| syn.source).collect();
    assert_eq!(sources, [seen.server.peer], "only the proxy's connection leaves");
}

fn the_world_reaches_pods_through_the_proxy(wiring: Wiring) {
    let mesh = mesh("from-world", wiring);
    for address in mesh.pod("server").addresses().iter() {
        let to = SocketAddr::new(address, PORT);
        let _server = serve(&mesh.pod("server").netns, to);
        world_to_pod(&mesh, to);
    }
}

fn world_to_pod(mesh: &Mesh, to: SocketAddr) -> Exchange {
    let leaving = Capture::start(&mesh.pod("server").netns, "eth0").unwrap();
    let seen = exchange(&mesh.world.remote.netns, to);
    assert_eq!(seen.peer, to);
    assert_eq!(seen.server.local, to);
    assert_inbound(mesh, &seen);
    let stray: Vec<_> = leaving
        .segments()
        .into_iter()
        .filter(|segment| segment.destination == seen.server.peer || segment.source == seen.server.peer)
        .collect();
    assert!(
        stray.is_empty(),
        "the proxy's connection to the application shows outside: {stray:?}"
    );
    seen
}

/// The remote host plays the proxy of another node, which only the stand-in's tunnel in clear allows.
fn pods_of_other_nodes_reach_the_tunnel_port(wiring: Wiring) {
    let mesh = mesh("tunnel-port", wiring);
    for address in mesh.pod("server").addresses().iter() {
        let to = SocketAddr::new(address, PORT);
        let server = serve(&mesh.pod("server").netns, to);
        let (mut tunnel, answer) = open_tunnel(&mesh, to);
        if !is_stand_in(&mesh) {
            assert_eq!(
                answer.first(),
                Some(&TLS_ALERT),
                "a ztunnel speaks TLS: {answer:?}"
            );
            assert!(server.connections().is_empty(), "the application got it instead");
            continue;
        }
        assert_eq!(answer, b"STANDIN/1 OK\n");
        let remote = mesh.world.remote.address_like(address).unwrap();
        let guests = server.settle(PATIENCE, |guests| !guests.is_empty()).unwrap();
        assert_eq!(guests[0].report.peer.ip(), remote);
        assert_eq!(guests[0].report.local, to);
        tunnel.write_all(b"ping").unwrap();
        server.settle(PATIENCE, |guests| guests[0].received == 4).unwrap();
    }
}

/// Connects to the pod's tunnel port, asks for its application, and reads a line.
fn open_tunnel(mesh: &Mesh, application: SocketAddr) -> (TcpStream, Vec<u8>) {
    let port = SocketAddr::new(application.ip(), HBONE);
    let mut tunnel = mesh
        .world
        .remote
        .netns
        .run(|| TcpStream::connect_timeout(&port, PATIENCE))
        .unwrap();
    tunnel.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked = Connect {
        destination: application,
        identity: Some("other/node".to_owned()),
    };
    tunnel.write_all(asked.to_string().as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while answer.last() != Some(&b'\n') && tunnel.read(&mut byte).is_ok_and(|length| length == 1) {
        answer.push(byte[0]);
    }
    (tunnel, answer)
}

fn one_family_alone_is_enough(wiring: Wiring) {
    for family in [Family::V4, Family::V6] {
        let mesh = Mesh::builder("one-family")
            .wiring(wiring)
            .family(family)
            .enrolled("client")
            .enrolled("server")
            .start()
            .unwrap();
        let to = SocketAddr::new(mesh.pod("server").address(), PORT);
        pod_to_pod(&mesh, to);
        let server = serve(&mesh.pod("server").netns, to);
        world_to_pod(&mesh, to);
        drop(server);
        let to = remote(&mesh).next().unwrap();
        let _server = serve(&mesh.world.remote.netns, to);
        pod_to_world(&mesh, to);
    }
}
