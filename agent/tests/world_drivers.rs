//! Pods on wirings that not every kernel has the drivers for (ipvlan, netkit, VLAN); `./x test vm` tries them where
//! they are.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use weir_netdetect::facts::{KernelFacts, KernelVersion};
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring, World};

/// Set where every driver has to be there, so that nothing is skipped.
const ALL_DRIVERS: &str = "WEIR_ALL_DRIVERS";
const PORT: u16 = 8080;
const ANY: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT);

#[test]
fn pods_are_captured_whatever_driver_connects_them() {
    for wiring in Wiring::WITH_MORE_DRIVERS {
        let builder = Mesh::builder("drivers")
            .wiring(wiring)
            .family(Family::Dual)
            .enrolled("pod");
        if let Some(world) = world(&builder, wiring) {
            println!("{wiring:?}: tried");
            both_ways(&builder.start_in(world).unwrap());
        }
    }
}

fn world(builder: &Builder, wiring: Wiring) -> Option<World> {
    let error = match builder.world() {
        Ok(world) => return Some(world),
        Err(error) => error,
    };
    let weir_testbeds::mesh::Error::World(cause) = &error else {
        panic!("{wiring:?}: {error}");
    };
    assert!(cause.is_unsupported(), "{wiring:?}: {error}");
    let required = std::env::var_os(ALL_DRIVERS).is_some() && is_due(wiring);
    assert!(!required, "{wiring:?}: {ALL_DRIVERS} demands it, but {error}");
    println!("{wiring:?}: this kernel has no driver for it; `./x test vm` tries it on one that has");
    None
}

/// Whether a kernel of this version has the driver, if it has been built with all.
fn is_due(wiring: Wiring) -> bool {
    let netkit = KernelVersion::new(6, 7);
    wiring != Wiring::Netkit || KernelFacts::of_this_kernel().unwrap().version >= netkit
}

fn both_ways(mesh: &Mesh) {
    let (pod, remote) = (mesh.pod("pod"), &mesh.world.remote);
    let _application = serve(&pod.netns);
    let _server = serve(&remote.netns);
    for to in remote.addresses.iter() {
        assert_captured(&pod.netns, to);
    }
    for to in pod.addresses().iter() {
        assert_captured(&remote.netns, to);
    }
}

fn serve(netns: &Netns) -> Server {
    Server::start(netns, &ServerSpec::new("application", ANY)).unwrap()
}

/// The server sees the client's address, but not its socket.
fn assert_captured(client: &Netns, to: IpAddr) {
    let seen = Client::exchange(client, &ClientSpec::to(SocketAddr::new(to, PORT))).unwrap();
    assert_eq!(seen.server.peer.ip(), seen.local.ip());
    assert_ne!(seen.server.peer.port(), seen.local.port(), "{to}: not captured");
}
