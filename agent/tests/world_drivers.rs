//! Pods on wirings that not every kernel has the drivers for (ipvlan, netkit, VLAN); `./x test vm` tries them where
//! they are.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::{IpAddr, SocketAddr};

use weir_testbeds::drivers::unless_missing;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Client, ClientSpec, Server};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;

#[test]
fn pods_are_captured_whatever_driver_connects_them() {
    for wiring in Wiring::WITH_MORE_DRIVERS {
        let builder = Mesh::builder("drivers")
            .wiring(wiring)
            .family(Family::Dual)
            .enrolled("pod");
        if let Some(world) = unless_missing(wiring, builder.world()).unwrap() {
            both_ways(&builder.start_in(world).unwrap());
        }
    }
}

fn both_ways(mesh: &Mesh) {
    let (pod, remote) = (mesh.pod("pod"), &mesh.world.remote);
    let _application = Server::anywhere(&pod.netns, PORT).unwrap();
    let _server = Server::anywhere(&remote.netns, PORT).unwrap();
    for to in remote.addresses.iter() {
        assert_captured(&pod.netns, to);
    }
    for to in pod.addresses().iter() {
        assert_captured(&remote.netns, to);
    }
}

/// The server sees the client's address, but not its socket.
fn assert_captured(client: &Netns, to: IpAddr) {
    let seen = Client::exchange(client, &ClientSpec::to(SocketAddr::new(to, PORT))).unwrap();
    assert_eq!(seen.server.peer.ip(), seen.local.ip());
    assert!(seen.was_captured(), "{to}: {seen:?}");
}
