//! Who reaches whom in a world, for every wiring and family, and which address the other side sees.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Cause, Client, ClientSpec, Exchange, Failure, Server, ServerSpec, Step};
use weir_testbeds::world::{Family, Wiring, World};

const TOO_LONG: Duration = Duration::from_millis(500);

fn every_world(check: impl Fn(&World, Wiring)) {
    for wiring in Wiring::ALL {
        for family in Family::ALL {
            let started = Instant::now();
            let builder = World::builder("reach").wiring(wiring).family(family);
            let world = builder.pods(["client", "server"]).build().unwrap();
            println!("{wiring:?} {family:?} made in {:?}", started.elapsed());
            check(&world, wiring);
        }
    }
}

fn exchange(client: &Netns, server: &Netns, at: IpAddr) -> Result<Exchange, Failure> {
    let server = Server::start(server, &ServerSpec::new("app", SocketAddr::new(at, 0)))?;
    Client::exchange(client, &ClientSpec::to(server.address()).deadline(TOO_LONG))
}

/// Asserts that both sides saw the addresses they should.
fn assert_direct(exchange: &Exchange, from: IpAddr, to: IpAddr) {
    assert_eq!(exchange.server.server, "app");
    assert_eq!((exchange.local.ip(), exchange.peer.ip()), (from, to));
    assert_eq!(
        (exchange.server.peer, exchange.server.local),
        (exchange.local, exchange.peer)
    );
}

#[test]
fn pods_reach_each_other_with_their_own_addresses() {
    every_world(|world, wiring| {
        let (client, server) = (world.pod("client"), world.pod("server"));
        for to in server.addresses().iter() {
            let exchange = exchange(&client.netns, &server.netns, to);
            if !wiring.reaches_its_like() {
                exchange.unwrap_err();
                continue;
            }
            assert_direct(&exchange.unwrap(), client.address_like(to).unwrap(), to);
        }
    });
}

#[test]
fn a_pod_reaches_the_remote_host_without_nat() {
    every_world(|world, _| {
        let client = world.pod("client");
        for to in world.remote.addresses.iter() {
            let exchange = exchange(&client.netns, &world.remote.netns, to).unwrap();
            assert_direct(&exchange, client.address_like(to).unwrap(), to);
        }
    });
}

#[test]
fn the_remote_host_reaches_a_pod_without_nat() {
    every_world(|world, _| {
        let server = world.pod("server");
        for to in server.addresses().iter() {
            let exchange = exchange(&world.remote.netns, &server.netns, to).unwrap();
            assert_direct(&exchange, world.remote.address_like(to).unwrap(), to);
        }
    });
}

#[test]
fn the_node_reaches_its_pods_but_for_children_of_its_uplink() {
    every_world(|world, wiring| {
        for to in world.pod("server").addresses().iter() {
            match exchange(&world.node.netns, &world.pod("server").netns, to) {
                Ok(exchange) => {
                    assert!(wiring.reachable_from_node(), "{wiring:?} {to}: {exchange:?}");
                    assert_eq!(exchange.server.peer, exchange.local);
                }
                Err(failure) => {
                    assert!(!wiring.reachable_from_node(), "{wiring:?}: {failure}");
                    assert_eq!((failure.step, failure.cause), (Step::Connect, Cause::TimedOut));
                }
            }
        }
    });
}
