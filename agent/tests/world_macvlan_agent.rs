//! The agent, with pods on macvlan and a ztunnel in a pod beside them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, Learnt, Record};
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;

fn mesh(name: &str, outbound: &str) -> Mesh {
    builder(name, outbound).start().unwrap()
}

fn builder(name: &str, outbound: &str) -> Builder {
    Mesh::builder(name)
        .wiring(Wiring::MacvlanBridge)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .outside("plain")
        .ztunnel_outside(Wiring::MacvlanBridge)
        .flag("--macvlan-outbound")
        .flag(outbound)
}

fn serve(netns: &Netns) -> Server {
    let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT);
    Server::start(netns, &ServerSpec::new("application", any)).unwrap()
}

fn exchange(netns: &Netns, to: IpAddr) -> Exchange {
    let to = SocketAddr::new(to, PORT);
    Client::exchange(netns, &ClientSpec::to(to)).unwrap_or_else(|failure| panic!("to {to}: {failure}"))
}

fn record(mesh: &Mesh, direction: Direction, seen: &Exchange) -> Record {
    let wanted = |record: &Record| {
        record.direction == direction
            && record.peer == Some(seen.local)
            && record.original_destination == Some(seen.peer)
    };
    mesh.proxy.wait_for(PATIENCE, wanted).unwrap()
}

/// The real ztunnel does not say how it came to know the destination.
fn assert_learnt(record: &Record, how: Learnt) {
    assert_eq!(record.learnt.unwrap_or(how), how);
}

#[test]
fn what_a_pod_opens_is_made_to_ztunnel_by_default() {
    let mesh = mesh("macvlan-socket", "socket");
    let _server = serve(&mesh.world.remote.netns);
    for to in mesh.world.remote.addresses.iter() {
        let seen = exchange(&mesh.pod("client").netns, to);
        assert_learnt(&record(&mesh, Direction::Outbound, &seen), Learnt::SoOriginalDst);
        assert_eq!(Some(seen.server.peer.ip()), mesh.pod("ztunnel").address_like(to));
    }
}

#[test]
fn what_a_pod_opens_keeps_its_source_where_it_is_steered() {
    let mesh = mesh("macvlan-steer", "steer");
    let _server = serve(&mesh.world.remote.netns);
    for to in mesh.world.remote.addresses.iter() {
        let seen = exchange(&mesh.pod("client").netns, to);
        assert_learnt(&record(&mesh, Direction::Outbound, &seen), Learnt::LocalAddress);
        assert_eq!(seen.server.peer.ip(), seen.local.ip());
    }
}

#[test]
fn what_comes_to_a_pod_keeps_its_source_either_way() {
    for outbound in ["socket", "steer"] {
        let mesh = mesh(&format!("macvlan-in-{outbound}"), outbound);
        let _server = serve(&mesh.pod("server").netns);
        for to in mesh.pod("server").addresses().iter() {
            for client in [&mesh.world.remote.netns, &mesh.pod("plain").netns] {
                let seen = exchange(client, to);
                record(&mesh, Direction::Inbound, &seen);
                assert_eq!(seen.server.peer.ip(), seen.local.ip());
            }
        }
    }
}

#[test]
fn pods_that_are_not_in_the_mesh_are_left_alone() {
    let mesh = mesh("macvlan-plain", "socket");
    let _server = serve(&mesh.world.remote.netns);
    for to in mesh.world.remote.addresses.iter() {
        let seen = exchange(&mesh.pod("plain").netns, to);
        assert_eq!(seen.server.peer, seen.local);
    }
}

/// Each connection is counted once, although the way out of the pod has two programs.
#[test]
fn open_to_failure_if_asked_for() {
    for outbound in ["socket", "steer"] {
        let name = format!("macvlan-open-{outbound}");
        let mut mesh = builder(&name, outbound).flag("--fail-open").start().unwrap();
        let (world, client) = (&mesh.world, mesh.pod("client").netns.clone());
        let server = serve(&world.remote.netns);
        let _application = serve(&client);
        let to = SocketAddr::new(world.remote.addresses.first().unwrap(), PORT);
        let inward = SocketAddr::new(mesh.pod("client").address(), PORT);
        let remote = world.remote.netns.clone();
        let quickly = |from: &Netns, to| {
            let spec = ClientSpec::to(to).deadline(Duration::from_millis(500));
            Client::exchange(from, &spec).ok()
        };
        mesh.proxy.kill();
        for (from, to) in [(&client, to), (&remote, inward)] {
            let seen = eventually(PATIENCE, || quickly(from, to)).unwrap();
            assert_eq!(seen.server.peer, seen.local);
        }
        exchange(&client, to.ip());
        let counted = mesh.agent.run("status", &["client", "-o", "json"]).unwrap();
        let status: serde_json::Value = serde_json::from_slice(&counted.stdout).unwrap();
        let reasons = status["reasons"].as_array().unwrap();
        let open = reasons.iter().find(|counted| counted["reason"] == "fail_open");
        // Two of the client's, one to it.
        assert_eq!(server.connections().len(), 2);
        assert_eq!(open.unwrap()["count"], 3, "{reasons:?}");
        mesh.proxy.restart().unwrap();
        let captured = || quickly(&client, to).filter(|seen| seen.server.peer != seen.local);
        eventually(PATIENCE, captured).unwrap();
    }
}
