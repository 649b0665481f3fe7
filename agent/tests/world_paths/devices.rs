//! Sockets that are bound to an interface.

use std::net::SocketAddr;

use ipnetwork::IpNetwork;
use weir_testbeds::traffic::{Client, ClientSpec};
use weir_testbeds::world::Wiring;

use crate::interfaces::two_networks;
use crate::scene::{
    PORT, any, assert_direct, assert_outbound, captured_soon, mesh, remote, serve, serve_remote,
};

on_every_wiring! {
    eth0_is_no_way_around_the_proxy,
    a_second_interface_is_no_way_around_the_proxy,
    an_address_on_loopback,
    loopback_stays_bound,
}

fn eth0_is_no_way_around_the_proxy(wiring: Wiring) {
    let mesh = mesh("eth0", wiring);
    let _server = serve_remote(&mesh);
    for to in remote(&mesh) {
        let spec = ClientSpec::to(to).device("eth0");
        for spec in [
            spec.clone(),
            spec.clone().nonblocking(),
            spec.from(mesh.address("client", to.ip()).unwrap()),
        ] {
            let seen = Client::exchange(&mesh.pod("client").netns, &spec).unwrap();
            assert_outbound(&mesh, &seen, to);
        }
    }
}

fn a_second_interface_is_no_way_around_the_proxy(wiring: Wiring) {
    let mesh = two_networks("net1", wiring);
    let (client, plain) = (mesh.pod("client"), mesh.pod("plain"));
    let _server = serve(&plain.netns, any(PORT));
    for to in plain.secondary[0].addresses.iter() {
        let own = client.secondary[0].addresses.like(to).unwrap();
        let to = SocketAddr::new(to, PORT);
        let spec = ClientSpec::to(to).device("net1");
        for spec in [spec.clone().from(own), spec] {
            let seen = captured_soon(&client.netns, &spec);
            assert_outbound(&mesh, &seen, to);
        }
    }
}

/// Some networks put the pod's address on loopback and leave the interface without.
fn an_address_on_loopback(wiring: Wiring) {
    let mesh = mesh("on-lo", wiring);
    let client = mesh.pod("client");
    let _server = serve_remote(&mesh);
    for (to, address) in remote(&mesh).zip(["10.99.0.8/32", "fd99::8/128"]) {
        let address: IpNetwork = address.parse().unwrap();
        client
            .netns
            .netlink(async |netlink| netlink.add_address("lo", address).await)
            .unwrap();
        let spec = ClientSpec::to(to).from(address.ip());
        for spec in [spec.clone(), spec.device("eth0")] {
            let seen = captured_soon(&client.netns, &spec);
            assert_eq!(seen.local.ip(), address.ip());
            assert_outbound(&mesh, &seen, to);
        }
    }
}

/// Binding to loopback is the pod's own affair as long as it stays inside.
fn loopback_stays_bound(wiring: Wiring) {
    let mesh = mesh("lo-bound", wiring);
    let client = mesh.pod("client");
    let _own = serve(&client.netns, any(PORT));
    for to in ["127.0.0.1:8080", "[::1]:8080"] {
        let spec = ClientSpec::to(to.parse().unwrap()).device("lo");
        assert_direct(&Client::exchange(&client.netns, &spec).unwrap());
    }
}
