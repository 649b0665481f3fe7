//! Link-local addresses: such a connection cannot be routed, so it cannot be led to ztunnel.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use weir_common::reason::Reason;
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Client, ClientSpec};
use weir_testbeds::world::Wiring;

use crate::scene::{PORT, any, assert_direct, exchange, is_captured, mesh, serve};
use crate::tally::Tally;

on_wiring!(
    bridge,
    Bridge,
    what_a_pod_sends_stays_in_clear,
    what_a_pod_receives_does_not
);
on_wiring!(
    macvlan,
    MacvlanBridge,
    what_a_pod_sends_stays_in_clear,
    what_a_pod_receives_does_not
);

/// The address, with the interface by which the others of the link reach it.
fn link_local(of: &Netns, from: &Netns) -> SocketAddr {
    let (address, _) = link_local_of_eth0(of);
    let (_, index) = link_local_of_eth0(from);
    SocketAddrV6::new(address, PORT, 0, index).into()
}

fn link_local_of_eth0(netns: &Netns) -> (Ipv6Addr, u32) {
    let table = netns
        .run(|| fs::read_to_string("/proc/thread-self/net/if_inet6"))
        .unwrap();
    let line = table
        .lines()
        .find(|line| line.starts_with("fe80") && line.ends_with("eth0"))
        .unwrap();
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = u128::from_str_radix(fields[0], 16).unwrap();
    (address.into(), u32::from_str_radix(fields[1], 16).unwrap())
}

fn what_a_pod_sends_stays_in_clear(wiring: Wiring) {
    let mesh = mesh("link-local-out", wiring);
    let (client, plain) = (&mesh.pod("client").netns, &mesh.pod("plain").netns);
    let _server = serve(plain, any(PORT));
    let tally = Tally::of(&mesh, "client");
    assert_direct(&exchange(client, link_local(plain, client)));
    assert_eq!(tally.count(Reason::LinkLocal), 1);
    let _own = serve(client, any(PORT));
    assert_direct(&exchange(client, link_local(client, client)));
}

/// ztunnel takes it, and as a rule cannot carry it on: it would have to name the interface.
fn what_a_pod_receives_does_not(wiring: Wiring) {
    let mesh = mesh("link-local-in", wiring);
    let (server, plain) = (&mesh.pod("server").netns, &mesh.pod("plain").netns);
    let application = serve(server, any(PORT));
    let to = link_local(server, plain);
    if let Ok(seen) = Client::exchange(plain, &ClientSpec::to(to)) {
        assert!(is_captured(&seen), "{seen:?}");
    } else {
        assert!(application.connections().is_empty());
    }
    assert_eq!(Tally::of(&mesh, "server").count(Reason::Inbound), 1);
}
