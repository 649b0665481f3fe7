//! Who reaches whom in a world, for every wiring and family, and which address the other side sees.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use weir_testbeds::netns::Netns;
use weir_testbeds::world::{Family, Wiring, World};

/// Connects once and returns the client's address as the server sees it.
fn seen(client: &Netns, server: &Netns, at: IpAddr) -> std::io::Result<IpAddr> {
    let listener = server.run(|| TcpListener::bind(SocketAddr::new(at, 0)))?;
    let to = listener.local_addr()?;
    let stream = client.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(2)))?;
    let (_, peer) = listener.accept()?;
    drop(stream);
    Ok(peer.ip())
}

fn every_world(check: impl Fn(&World, Wiring)) {
    for wiring in Wiring::ALL {
        for family in Family::ALL {
            let started = Instant::now();
            let world = World::builder("reach")
                .wiring(wiring)
                .family(family)
                .pods(["client", "server"])
                .build()
                .unwrap();
            println!("{wiring:?} {family:?} made in {:?}", started.elapsed());
            check(&world, wiring);
        }
    }
}

#[test]
fn pods_reach_each_other_with_their_own_addresses() {
    every_world(|world, _| {
        let (client, server) = (world.pod("client"), world.pod("server"));
        for to in server.addresses().iter() {
            assert_eq!(
                seen(&client.netns, &server.netns, to).unwrap(),
                client.address_like(to).unwrap()
            );
        }
    });
}

#[test]
fn a_pod_and_the_remote_host_reach_each_other_without_nat() {
    every_world(|world, _| {
        let client = world.pod("client");
        for to in world.remote.addresses.iter() {
            assert_eq!(
                seen(&client.netns, &world.remote.netns, to).unwrap(),
                client.address_like(to).unwrap()
            );
        }
        for to in client.addresses().iter() {
            let expected = world.remote.address_like(to).unwrap();
            assert_eq!(seen(&world.remote.netns, &client.netns, to).unwrap(), expected);
        }
    });
}

#[test]
fn the_node_reaches_its_pods_but_for_macvlan() {
    every_world(|world, wiring| {
        for to in world.pod("server").addresses().iter() {
            let outcome = seen(&world.node.netns, &world.pod("server").netns, to);
            assert_eq!(
                outcome.is_ok(),
                wiring.reachable_from_node(),
                "{wiring:?} {to}: {outcome:?}"
            );
        }
    });
}
