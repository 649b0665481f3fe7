//! What is refused: ztunnel's own ports, and applications that do not listen.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on says so by a panic; each uses its part of what tests share"
)]

#[path = "support/tally.rs"]
mod tally;
#[path = "support/wire.rs"]
mod wire;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnetwork::IpNetwork;
use tally::Tally;
use weir_common::reason::Reason;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::Outcome;
use weir_testbeds::traffic::{Cause, Client, ClientSpec, Failure, Server, ServerSpec, Step};
use weir_testbeds::world::{Family, Wiring};
use wire::Wire;

const ZTUNNEL_PORTS: [u16; 3] = [15001, 15006, 15008];
/// Nobody listens here.
const CLOSED: u16 = 9;

/// Makes a test of each function for pods with a veth and for pods without.
macro_rules! on_both_wirings {
    ($($test:ident),+ $(,)?) => {
        mod point_to_point {
            $(#[test]
            fn $test() {
                super::$test(weir_testbeds::world::Wiring::PointToPoint);
            })+
        }
        mod macvlan {
            $(#[test]
            fn $test() {
                super::$test(weir_testbeds::world::Wiring::MacvlanBridge);
            })+
        }
    };
}

on_both_wirings! {
    a_pod_cannot_dial_its_own_ztunnel,
    ztunnels_plaintext_ports_are_no_open_proxy_for_others,
    an_address_that_is_not_known_as_the_pods_is_refused,
    the_hbone_port_is_open_to_others,
    a_closed_port_of_a_pod_is_refused_at_once_and_nothing_strays,
    a_closed_port_behind_a_tunnel_is_refused_at_once_and_nothing_strays,
    a_closed_port_of_the_world_is_refused_at_once_and_nothing_strays,
}

fn mesh(name: &str, wiring: Wiring) -> Mesh {
    Mesh::builder(name)
        .wiring(wiring)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .start()
        .unwrap()
}

fn attempt(netns: &Netns, spec: &ClientSpec) -> Failure {
    Client::exchange(netns, spec).expect_err("it should have been refused")
}

/// The connection ends at once, in whatever way the proxy ends it; a hang would be a timeout.
fn assert_ended_at_once(failure: &Failure) {
    let Failure { step, cause, .. } = failure;
    assert!(matches!(step, Step::Connect | Step::Greeting), "{failure}");
    assert!(
        matches!(cause, Cause::Refused | Cause::Closed | Cause::Reset),
        "{failure}"
    );
}

/// Gives the pod two more addresses, and waits until they count as its own.
fn add_secondary_addresses(mesh: &Mesh, pod: &str) -> Vec<IpAddr> {
    let secondary: [IpNetwork; 2] = ["198.51.100.7/32", "fd00:beef::7/128"].map(|text| text.parse().unwrap());
    let netns = &mesh.pod(pod).netns;
    netns
        .netlink(async |netlink| {
            for address in secondary {
                netlink.add_address("eth0", address).await?;
            }
            Ok(())
        })
        .unwrap();
    let tally = Tally::of(mesh, pod);
    let known = |address: &IpNetwork| tally.entries().contains(&format!("own {}", address.ip()));
    eventually(PATIENCE, || secondary.iter().all(known).then_some(())).unwrap();
    secondary.iter().map(IpNetwork::ip).collect()
}

fn a_pod_cannot_dial_its_own_ztunnel(wiring: Wiring) {
    let mesh = mesh("own-ztunnel", wiring);
    let netns = &mesh.pod("client").netns;
    let mut addresses: Vec<IpAddr> = mesh.pod("client").addresses().iter().collect();
    addresses.extend(add_secondary_addresses(&mesh, "client"));
    addresses.extend([
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ]);
    let tally = Tally::of(&mesh, "client");
    let wire = Wire::of(mesh.pod("client"));
    let mut attempts = tally.count(Reason::ZtunnelPort);
    for &address in &addresses {
        for port in ZTUNNEL_PORTS {
            let spec = ClientSpec::to(SocketAddr::new(address, port));
            let mut specs = vec![spec.clone(), spec.clone().nonblocking()];
            if address.is_ipv4() {
                specs.push(spec.v4_mapped());
            }
            for spec in specs {
                let failure = attempt(netns, &spec);
                assert_eq!(
                    (failure.step, failure.cause),
                    (Step::Connect, Cause::NotPermitted),
                    "{spec:?}"
                );
                attempts += 1;
                assert_eq!(tally.count(Reason::ZtunnelPort), attempts, "{spec:?}");
            }
        }
    }
    wire.was_silent();
    assert_eq!(mesh.proxy.connections(), []);
}

fn ztunnels_plaintext_ports_are_no_open_proxy_for_others(wiring: Wiring) {
    let mesh = mesh("open-proxy", wiring);
    for to in mesh.pod("server").addresses().iter() {
        for port in [15001, 15006] {
            let to = SocketAddr::new(to, port);
            for netns in [&mesh.world.remote.netns, &mesh.pod("client").netns] {
                assert_ended_at_once(&attempt(netns, &ClientSpec::to(to)));
            }
            let denied = mesh.proxy.wait_for(PATIENCE, |record| {
                record.original_destination == Some(to) && record.outcome == Outcome::Denied
            });
            denied.unwrap();
        }
    }
    let connected = mesh.proxy.connections();
    let connected = connected.iter().find(|record| {
        record.outcome == Outcome::Connected && record.upstream.is_some_and(|to| to.port() != 15008)
    });
    assert_eq!(connected, None);
}

/// Between the moment that the kernel has an address and the moment that the agent knows of it.
fn an_address_that_is_not_known_as_the_pods_is_refused(wiring: Wiring) {
    let mesh = mesh("unknown-address", wiring);
    let server = mesh.pod("server");
    let tally = Tally::of(&mesh, "server");
    let mut refused = 0;
    for to in server.addresses().iter() {
        let to = SocketAddr::new(to, 8080);
        let application = Server::start(&server.netns, &ServerSpec::new("server", to)).unwrap();
        Client::exchange(&mesh.world.remote.netns, &ClientSpec::to(to)).unwrap();
        let before = application.connections().len();
        tally.disown(to.ip());
        for from in [&mesh.world.remote.netns, &mesh.pod("client").netns] {
            assert_ended_at_once(&attempt(from, &ClientSpec::to(to)));
            refused += 1;
        }
        assert_eq!(
            application.connections().len(),
            before,
            "somebody reached the application"
        );
    }
    tally.wait(Reason::UnknownAddress, refused);
}

fn the_hbone_port_is_open_to_others(wiring: Wiring) {
    let mesh = mesh("hbone-port", wiring);
    let tally = Tally::of(&mesh, "server");
    let mut taken = 0;
    for to in mesh.pod("server").addresses().iter() {
        let to = SocketAddr::new(to, 15008);
        let stream = mesh
            .world
            .remote
            .netns
            .run(|| std::net::TcpStream::connect_timeout(&to, PATIENCE));
        assert_eq!(stream.unwrap().peer_addr().unwrap(), to);
        taken += 1;
        tally.wait(Reason::Hbone, taken);
    }
    assert_eq!(tally.count(Reason::Inbound), 0);
}

fn a_closed_port_of_a_pod_is_refused_at_once_and_nothing_strays(wiring: Wiring) {
    let mesh = mesh("closed-inbound", wiring);
    let remote = &mesh.world.remote;
    let wire = Wire::of(mesh.pod("server"));
    let mut expected = Vec::new();
    for to in mesh.pod("server").addresses().iter() {
        let to = SocketAddr::new(to, CLOSED);
        let from = SocketAddr::new(remote.address_like(to.ip()).unwrap(), 40_001);
        assert_ended_at_once(&attempt(&remote.netns, &ClientSpec::to(to).from_port(from)));
        expected.push((from, to));
        wire.carried_only(|segment| {
            expected
                .iter()
                .any(|&(from, to)| wire::between(segment, from, to))
        });
    }
}

fn a_closed_port_behind_a_tunnel_is_refused_at_once_and_nothing_strays(wiring: Wiring) {
    let mesh = mesh("closed-tunnel", wiring);
    for to in mesh.pod("server").addresses().iter() {
        let wires = ["client", "server"].map(|pod| Wire::of(mesh.pod(pod)));
        let to = SocketAddr::new(to, CLOSED);
        assert_ended_at_once(&attempt(&mesh.pod("client").netns, &ClientSpec::to(to)));
        for wire in wires {
            wire.carried_only(wire::in_tunnel);
        }
    }
}

fn a_closed_port_of_the_world_is_refused_at_once_and_nothing_strays(wiring: Wiring) {
    let mesh = mesh("closed-outbound", wiring);
    let client = mesh.pod("client");
    let wire = Wire::of(client);
    let mut applications = Vec::new();
    for to in mesh.world.remote.addresses.iter() {
        let to = SocketAddr::new(to, CLOSED);
        let app = SocketAddr::new(client.address_like(to.ip()).unwrap(), 40_002);
        assert_ended_at_once(&attempt(&client.netns, &ClientSpec::to(to).from_port(app)));
        // ztunnel's own connection, which is the one that was refused.
        applications.push(app);
        wire.carried_only(|segment| !applications.contains(&wire.pod_side(segment)));
        let syns = wire.segments();
        let syns = syns.iter().filter(|segment| segment.flags.syn).count();
        assert_eq!(syns, applications.len(), "one attempt of ztunnel's each");
    }
}
