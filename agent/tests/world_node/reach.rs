//! Between pods, and between pods and the world.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use weir_standin::preface::Connect;
use weir_testbeds::capture::Capture;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::proxy::{Direction, Outcome, Record};
use weir_testbeds::traffic::Exchange;
use weir_testbeds::world::Wiring;

use crate::scene::{
    HBONE, PORT, assert_captured, assert_direct, builder, exchange, mesh, mesh_of_the_stand_in, of_pod,
    of_remote, serve,
};

on_every_wiring! {
    the_world_is_reached_through_ztunnel,
    the_world_reaches_pods_through_ztunnel,
    pods_of_one_node_reach_each_other,
    pods_of_one_node_reach_each_other_by_a_tunnel,
    pods_of_other_nodes_reach_the_tunnel_port,
    pods_outside_are_clients_and_servers_like_any_other,
    pods_outside_are_no_probes_although_any_process_of_the_node_may_probe,
    the_node_probes_pods_with_its_own_address,
    pods_reach_the_node_through_ztunnel,
    translated_connections_are_captured_although_they_have_the_nodes_address,
}

// Azure's bridge passes the node's address translation.
on_other_wirings! {
    the_world_is_reached_through_ztunnel,
    the_world_reaches_pods_through_ztunnel,
    pods_of_one_node_reach_each_other,
    pods_of_one_node_reach_each_other_by_a_tunnel,
    pods_of_other_nodes_reach_the_tunnel_port,
    pods_outside_are_clients_and_servers_like_any_other,
    the_node_probes_pods_with_its_own_address,
    pods_reach_the_node_through_ztunnel,
}

fn the_world_is_reached_through_ztunnel(wiring: Wiring) {
    let mesh = mesh("node-out", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let leaving = Capture::start(&mesh.world.node.netns, &mesh.world.node.interface).unwrap();
    for to in of_remote(&mesh) {
        let seen = exchange(&mesh.pod("client").netns, to);
        let record = assert_captured(&mesh, Direction::Outbound, &seen);
        assert_eq!(record.upstream, Some(to));
        let syns = leaving.tcp_syns();
        assert!(
            syns.iter().all(|syn| syn.source != seen.local),
            "the pod's own SYN has left the node: {syns:?}"
        );
        assert!(syns.iter().any(|syn| syn.source == seen.server.peer));
    }
}

fn the_world_reaches_pods_through_ztunnel(wiring: Wiring) {
    let mesh = mesh("node-in", wiring);
    let _server = serve(&mesh.pod("server").netns);
    for to in of_pod(&mesh, "server") {
        let seen = exchange(&mesh.world.remote.netns, to);
        assert_captured(&mesh, Direction::Inbound, &seen);
    }
}

fn pods_of_one_node_reach_each_other(wiring: Wiring) {
    let mesh = mesh_of_the_stand_in("node-one", wiring);
    let _server = serve(&mesh.pod("server").netns);
    for to in of_pod(&mesh, "server") {
        let seen = exchange(&mesh.pod("client").netns, to);
        let record = assert_captured(&mesh, Direction::Outbound, &seen);
        assert_eq!(record.upstream, Some(to), "straight to the application");
    }
}

fn pods_of_one_node_reach_each_other_by_a_tunnel(wiring: Wiring) {
    reach_each_other_by_a_tunnel(builder("node-hairpin", wiring), |mesh, seen| {
        assert_captured(mesh, Direction::Outbound, seen)
    });
}

/// Connections get to ztunnel as `left` says.
pub fn reach_each_other_by_a_tunnel(builder: Builder, left: impl Fn(&Mesh, &Exchange) -> Record) {
    let mesh = builder.hairpin().start().unwrap();
    let _server = serve(&mesh.pod("server").netns);
    for to in of_pod(&mesh, "server") {
        let seen = exchange(&mesh.pod("client").netns, to);
        let record = left(&mesh, &seen);
        assert_eq!(record.upstream, Some(SocketAddr::new(to.ip(), HBONE)));
        let inner = mesh.proxy.wait_for(PATIENCE, |record| {
            record.direction == Direction::Hbone && record.upstream == Some(to)
        });
        let inner = inner.unwrap();
        assert_eq!(inner.peer.unwrap().ip(), seen.server.peer.ip());
        assert_eq!(inner.outcome, Outcome::Connected);
    }
}

/// The remote host plays the proxy of another node.
fn pods_of_other_nodes_reach_the_tunnel_port(wiring: Wiring) {
    reach_the_tunnel_port(&mesh_of_the_stand_in("node-tunnel", wiring));
}

pub fn reach_the_tunnel_port(mesh: &Mesh) {
    let server = serve(&mesh.pod("server").netns);
    for (count, to) in of_pod(mesh, "server").into_iter().enumerate() {
        let mut tunnel = open_tunnel(mesh, to);
        tunnel.write_all(b"ping").unwrap();
        let guests = server.settle(PATIENCE, |guests| {
            guests.get(count).is_some_and(|guest| guest.received == 4)
        });
        let guest = &guests.unwrap()[count];
        assert_eq!(
            Some(guest.report.peer.ip()),
            mesh.world.remote.address_like(to.ip())
        );
        assert_eq!(guest.report.local, to);
    }
}

fn open_tunnel(mesh: &Mesh, application: SocketAddr) -> TcpStream {
    let port = SocketAddr::new(application.ip(), HBONE);
    let remote = &mesh.world.remote.netns;
    let mut tunnel = remote
        .run(|| TcpStream::connect_timeout(&port, PATIENCE))
        .unwrap();
    tunnel.set_read_timeout(Some(PATIENCE)).unwrap();
    let asked = Connect {
        destination: application,
        identity: Some("other/node".to_owned()),
    };
    tunnel.write_all(asked.to_string().as_bytes()).unwrap();
    let mut answer = [0; 13];
    tunnel.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"STANDIN/1 OK\n");
    tunnel
}

fn pods_outside_are_clients_and_servers_like_any_other(wiring: Wiring) {
    let mesh = mesh("node-plain", wiring);
    let _server = serve(&mesh.pod("server").netns);
    let _plain = serve(&mesh.pod("plain").netns);
    for to in of_pod(&mesh, "server") {
        let seen = exchange(&mesh.pod("plain").netns, to);
        assert_captured(&mesh, Direction::Inbound, &seen);
    }
    for to in of_pod(&mesh, "plain") {
        let seen = exchange(&mesh.pod("client").netns, to);
        assert_captured(&mesh, Direction::Outbound, &seen);
        assert_direct(&exchange(&mesh.world.remote.netns, to));
    }
}

/// On a bridge a packet still shows whose socket it is from, though that is in another pod.
fn pods_outside_are_no_probes_although_any_process_of_the_node_may_probe(wiring: Wiring) {
    let flags = ["--probes", "any-host-process"];
    let builder = flags.into_iter().fold(builder("node-any", wiring), Builder::flag);
    let mesh = builder.start().unwrap();
    let _server = serve(&mesh.pod("server").netns);
    for to in of_pod(&mesh, "server") {
        let seen = exchange(&mesh.pod("plain").netns, to);
        assert_captured(&mesh, Direction::Inbound, &seen);
        assert_direct(&exchange(&mesh.world.node.netns, to));
    }
}

fn the_node_probes_pods_with_its_own_address(wiring: Wiring) {
    let mesh = mesh("node-probe", wiring);
    let _server = serve(&mesh.pod("server").netns);
    for to in of_pod(&mesh, "server") {
        assert_direct(&exchange(&mesh.world.node.netns, to));
    }
    assert!(mesh.proxy.connections().is_empty());
}

fn pods_reach_the_node_through_ztunnel(wiring: Wiring) {
    let mesh = mesh("node-host", wiring);
    let _server = serve(&mesh.world.node.netns);
    for address in mesh.world.node.addresses.iter() {
        let seen = exchange(&mesh.pod("client").netns, SocketAddr::new(address, PORT));
        assert_captured(&mesh, Direction::Outbound, &seen);
    }
}

/// As with NodePort services, whose connections come to a pod from the node's address.
fn translated_connections_are_captured_although_they_have_the_nodes_address(wiring: Wiring) {
    let mesh = mesh("node-snat", wiring);
    let _server = serve(&mesh.pod("server").netns);
    translate(&mesh);
    for to in of_pod(&mesh, "server") {
        let seen = exchange(&mesh.world.remote.netns, to);
        assert_ne!(
            seen.server.peer.ip(),
            seen.local.ip(),
            "the address was not translated"
        );
        let record = mesh.proxy.wait_for(PATIENCE, |record| {
            record.direction == Direction::Inbound && record.original_destination == Some(to)
        });
        let record = record.unwrap();
        assert_eq!(record.peer.unwrap().ip(), seen.server.peer.ip());
        assert_ne!(
            record.peer,
            Some(seen.server.peer),
            "it did not go through ztunnel"
        );
    }
}

fn translate(mesh: &Mesh) {
    let rules = "table inet world { chain out { type nat hook postrouting priority 100; \
                 ip daddr 10.0.0.0/8 masquerade; ip6 daddr fd00::/16 masquerade; }; }";
    let mut command = Command::new("nft");
    let done = mesh.world.node.netns.run(|| command.arg(rules).status()).unwrap();
    assert!(done.success(), "nft refused the rules");
}
