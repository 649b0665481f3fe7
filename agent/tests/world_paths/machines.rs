//! Virtual machines in a pod: their connections are the pod's.

use std::net::SocketAddr;

use ipnetwork::IpNetwork;
use weir_testbeds::link::Device;
use weir_testbeds::netns::Netns;
use weir_testbeds::route::Route;
use weir_testbeds::traffic::ClientSpec;
use weir_testbeds::world::Wiring;

use crate::scene::{PORT, assert_outbound, builder, captured_soon, remote, serve, serve_remote};

on_every_wiring! {
    machines_of_a_pod,
}

const INNER: &str = "vm0";
/// The pod's end of the machine's network, and the machine's.
const NETWORKS: [[&str; 2]; 2] = [["10.0.2.1/24", "10.0.2.2/24"], ["fd02::1/64", "fd02::2/64"]];

/// Nobody but the pod knows the machine's address: only by way of ztunnel, which has the pod's, do answers come back.
fn machines_of_a_pod(wiring: Wiring) {
    let mesh = builder("machine", wiring)
        .annotate("client", "istio.io/reroute-virtual-interfaces", INNER)
        .start()
        .unwrap();
    let _remote = serve_remote(&mesh);
    let members = mesh.pod("server").addresses().iter();
    let members: Vec<_> = members.map(|address| SocketAddr::new(address, PORT)).collect();
    let _members: Vec<_> = members
        .iter()
        .map(|at| serve(&mesh.pod("server").netns, *at))
        .collect();
    // It is started when the pod is in the mesh already.
    let machine = machine_in(&mesh.pod("client").netns);
    for to in remote(&mesh).chain(members) {
        let seen = captured_soon(&machine, &ClientSpec::to(to));
        assert_outbound(&mesh, &seen, to);
        let pod = mesh.address("client", to.ip()).unwrap();
        assert_eq!(seen.server.peer.ip(), pod, "who the server believes asks");
    }
}

/// A machine behind an interface of the pod.
fn machine_in(pod: &Netns) -> Netns {
    let machine = Netns::new().unwrap();
    let (inner, outer) = (Device::named(INNER), Device::named("eth0"));
    pod.netlink(async |link| link.add_veth(&inner, &outer, &machine).await)
        .unwrap();
    for [pods, machines] in NETWORKS {
        give(pod, INNER, pods);
        give(&machine, "eth0", machines);
        let gateway: IpNetwork = pods.parse().unwrap();
        let route = Route::default_via(gateway.ip());
        machine
            .netlink(async |link| link.add_route(&route).await)
            .unwrap();
    }
    machine
}

fn give(netns: &Netns, interface: &str, address: &str) {
    let address = address.parse().unwrap();
    netns
        .netlink(async |link| {
            link.up(interface).await?;
            link.add_address(interface, address).await
        })
        .unwrap();
}
