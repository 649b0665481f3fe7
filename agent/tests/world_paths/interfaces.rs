//! Pods with more than one interface.

use std::net::SocketAddr;

use weir_testbeds::mesh::Mesh;
use weir_testbeds::traffic::ClientSpec;
use weir_testbeds::world::Wiring;

use crate::scene::{
    PORT, any, assert_direct, assert_inbound, assert_outbound, captured_soon, exchange_soon, mesh, serve,
};

on_every_wiring! {
    the_second_interface_is_captured_outbound,
    the_second_interface_is_captured_inbound,
    the_pods_second_address_is_its_own,
}

/// Client and plain pod on a second network: not the first one, or the kernel may choose either interface.
pub fn two_networks(name: &str, wiring: Wiring) -> Mesh {
    let mut mesh = mesh(name, wiring);
    let second = if wiring == Wiring::Bridge {
        Wiring::MacvlanBridge
    } else {
        Wiring::Bridge
    };
    for pod in ["client", "plain"] {
        mesh.world.add_interface(pod, "net1", second).unwrap();
    }
    mesh
}

fn the_second_interface_is_captured_outbound(wiring: Wiring) {
    let mesh = two_networks("net1-out", wiring);
    let (client, plain) = (mesh.pod("client"), mesh.pod("plain"));
    let _server = serve(&plain.netns, any(PORT));
    for to in plain.secondary[0].addresses.iter() {
        let seen = captured_soon(&client.netns, &ClientSpec::to(SocketAddr::new(to, PORT)));
        assert_outbound(&mesh, &seen, SocketAddr::new(to, PORT));
        let own = client.secondary[0].addresses.like(to).unwrap();
        assert_eq!(seen.server.peer.ip(), own, "it left by the second interface");
    }
}

fn the_second_interface_is_captured_inbound(wiring: Wiring) {
    let mesh = two_networks("net1-in", wiring);
    let (client, plain) = (mesh.pod("client"), mesh.pod("plain"));
    let _server = serve(&client.netns, any(PORT));
    for to in client.secondary[0].addresses.iter() {
        let seen = captured_soon(&plain.netns, &ClientSpec::to(SocketAddr::new(to, PORT)));
        assert_eq!(seen.server.local, SocketAddr::new(to, PORT));
        assert_inbound(&mesh, &seen);
    }
}

fn the_pods_second_address_is_its_own(wiring: Wiring) {
    let mesh = two_networks("net1-self", wiring);
    let client = mesh.pod("client");
    let _server = serve(&client.netns, any(PORT));
    for to in client.secondary[0].addresses.iter() {
        assert_direct(&exchange_soon(&client.netns, SocketAddr::new(to, PORT)));
    }
}
