//! Pods with more than one interface.

use std::net::SocketAddr;

use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::traffic::Server;
use weir_testbeds::world::Wiring;

use crate::scene::{
    PORT, any, assert_direct, assert_inbound, assert_outbound, exchange, is_captured, mesh, serve,
};

on_every_wiring! {
    the_second_interface_is_captured_outbound,
    the_second_interface_is_captured_inbound,
    the_pods_second_address_is_its_own,
}

/// Client and plain pod on a second network, known to the agent.
fn two_networks(name: &str, wiring: Wiring) -> (Mesh, Server) {
    let mut mesh = mesh(name, wiring);
    for pod in ["client", "plain"] {
        mesh.world.add_interface(pod, "net1", Wiring::Bridge).unwrap();
    }
    let client = mesh.pod("client");
    let server = serve(&client.netns, any(PORT));
    for own in client.secondary[0].addresses.iter() {
        let itself = SocketAddr::new(own, PORT);
        eventually(PATIENCE, || (!is_captured(&exchange(&client.netns, itself))).then_some(())).unwrap();
    }
    (mesh, server)
}

fn the_second_interface_is_captured_outbound(wiring: Wiring) {
    let (mesh, _own) = two_networks("net1-out", wiring);
    let (client, plain) = (mesh.pod("client"), mesh.pod("plain"));
    let _server = serve(&plain.netns, any(PORT));
    for to in plain.secondary[0].addresses.iter() {
        let seen = exchange(&client.netns, SocketAddr::new(to, PORT));
        assert_outbound(&mesh, &seen, SocketAddr::new(to, PORT));
        let own = client.secondary[0].addresses.like(to).unwrap();
        assert_eq!(seen.server.peer.ip(), own, "it left by the second interface");
    }
}

fn the_second_interface_is_captured_inbound(wiring: Wiring) {
    let (mesh, _own) = two_networks("net1-in", wiring);
    let (client, plain) = (mesh.pod("client"), mesh.pod("plain"));
    for to in client.secondary[0].addresses.iter() {
        let seen = exchange(&plain.netns, SocketAddr::new(to, PORT));
        assert_eq!(seen.server.local, SocketAddr::new(to, PORT));
        assert_inbound(&mesh, &seen);
    }
}

fn the_pods_second_address_is_its_own(wiring: Wiring) {
    let (mesh, _own) = two_networks("net1-self", wiring);
    let client = mesh.pod("client");
    for to in client.secondary[0].addresses.iter() {
        assert_direct(&exchange(&client.netns, SocketAddr::new(to, PORT)));
    }
}
