//! A pod that connects to itself does so without the proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnetwork::IpNetwork;
use weir_testbeds::route::Route;
use weir_testbeds::traffic::{Cause, Client, ClientSpec, Step};
use weir_testbeds::world::Wiring;

use crate::scene::{PORT, any, assert_direct, exchange, mesh, serve};

/// RT_TABLE_LOCAL.
const LOCAL_TABLE: u32 = 255;

on_every_wiring! {
    loopback_and_own_addresses_are_left_alone,
    loopback_keeps_both_ends,
    an_address_that_is_local_by_a_route_alone_is_left_alone,
    the_own_proxy_ports_are_refused,
}

fn loopback_and_own_addresses_are_left_alone(wiring: Wiring) {
    let mesh = mesh("itself", wiring);
    let pod = mesh.pod("client");
    let _server = serve(&pod.netns, any(PORT));
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(Ipv4Addr::new(127, 9, 8, 7)),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    for address in loopback.into_iter().chain(pod.addresses().iter()) {
        assert_direct(&exchange(&pod.netns, SocketAddr::new(address, PORT)));
        if address.is_ipv4() {
            let mapped = ClientSpec::to(SocketAddr::new(address, PORT)).v4_mapped();
            assert_direct(&Client::exchange(&pod.netns, &mapped).unwrap());
        }
    }
    for unspecified in [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ] {
        let seen = exchange(&pod.netns, SocketAddr::new(unspecified, PORT));
        assert_direct(&seen);
        assert!(seen.peer.ip().is_loopback(), "{seen:?}");
    }
    assert_eq!(mesh.proxy.connections(), [], "the proxy took part");
}

/// Every pair of loopback addresses, and of loopback and own address, stays as the application chose it.
fn loopback_keeps_both_ends(wiring: Wiring) {
    let mesh = mesh("pairs", wiring);
    let pod = mesh.pod("client");
    let _server = serve(&pod.netns, any(PORT));
    let own = pod.addresses();
    let v4 = [1, 2, 77].map(|last| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
    let v4 = Vec::from_iter(v4.into_iter().chain(own.v4.map(IpAddr::V4)));
    let v6 = Vec::from_iter(
        [IpAddr::V6(Ipv6Addr::LOCALHOST)]
            .into_iter()
            .chain(own.v6.map(IpAddr::V6)),
    );
    for family in [v4, v6] {
        for (from, to) in family
            .iter()
            .flat_map(|from| family.iter().map(move |to| (*from, *to)))
        {
            let client = ClientSpec::to(SocketAddr::new(to, PORT)).from(from);
            let seen = Client::exchange(&pod.netns, &client).unwrap();
            assert_direct(&seen);
            assert_eq!((seen.local.ip(), seen.peer.ip()), (from, to));
        }
    }
    assert_eq!(mesh.proxy.connections(), [], "the proxy took part");
}

/// No interface has it, so nobody knows it as the pod's; the kernel gives such a connection the same address at both ends.
fn an_address_that_is_local_by_a_route_alone_is_left_alone(wiring: Wiring) {
    let mesh = mesh("any-ip", wiring);
    let pod = mesh.pod("client");
    let _server = serve(&pod.netns, any(PORT));
    let range: IpNetwork = "10.98.0.0/24".parse().unwrap();
    let route = Route::to(range).local().dev("lo").table(LOCAL_TABLE);
    pod.netns
        .netlink(async |netlink| netlink.add_route(&route).await)
        .unwrap();
    assert_direct(&exchange(&pod.netns, "10.98.0.7:8080".parse().unwrap()));
    assert_eq!(mesh.proxy.connections(), [], "the proxy took part");
}

fn the_own_proxy_ports_are_refused(wiring: Wiring) {
    let mesh = mesh("own-ports", wiring);
    let pod = mesh.pod("client");
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for address in loopback.into_iter().chain(pod.addresses().iter()) {
        for port in [15001, 15006, 15008] {
            let client = ClientSpec::to(SocketAddr::new(address, port));
            let failure = Client::exchange(&pod.netns, &client).unwrap_err();
            assert_eq!(
                (failure.step, failure.cause),
                (Step::Connect, Cause::NotPermitted),
                "{address} {port}"
            );
        }
    }
}
