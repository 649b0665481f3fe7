//! Many connections at once from one address: none may take another's port, bytes or end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::Socket;
use weir_testbeds::mesh::{Mesh, PodLine};
use weir_testbeds::netns::Netns;

use crate::caller::{Caller, Talk, ask_all, call_all, finish_all, open_all};
use crate::server::{Closer, LoadServer, listener};
use crate::{callers, families, mesh, mesh_without, scaled};

const PORTS: [u16; 3] = [8080, 8081, 9000];
/// From here on ports are given to the proxy's connections to applications.
const GIVEN: u16 = 61000;

fn servers(mesh: &Mesh, to: IpAddr) -> Vec<LoadServer> {
    PORTS
        .iter()
        .zip(1..)
        .map(|(port, tag)| {
            let address = SocketAddr::new(to, *port);
            LoadServer::start(&mesh.pod("server").netns, tag, address, Closer::Client)
        })
        .collect()
}

/// Opens a connection from each port, spread over the servers, speaks on all twice, and ends them.
fn hold(client: &Netns, servers: &[LoadServer], from: IpAddr, ports: &[u16]) {
    let callers: Vec<Caller> = ports
        .iter()
        .zip(0..)
        .map(|(port, id)| {
            servers[usize::from(*port) % servers.len()]
                .caller(id)
                .at_port(from, *port)
        })
        .collect();
    client.run_async(async || {
        let talks = open_all(callers, 100).await;
        let talks = ask_all(talks, 700).await;
        let talks = ask_all(talks, 300).await;
        finish_all(talks, Closer::Client).await;
    });
}

/// Distinct ports in no order, the same in each run.
fn scattered(count: usize) -> Vec<u16> {
    (1u32..)
        .map(|turn| 1024 + turn.wrapping_mul(2_654_435_761) % 64512)
        .map(|port| u16::try_from(port).unwrap())
        .scan(std::collections::HashSet::new(), |seen, port| {
            Some(seen.insert(port).then_some(port))
        })
        .flatten()
        .take(count)
        .collect()
}

/// The many are tried with one family; the other takes the same way.
fn many(to: IpAddr) -> usize {
    scaled(if to.is_ipv4() { 2000 } else { 500 })
}

#[test]
fn scattered_ports_from_outside_the_mesh() {
    let mesh = mesh("load-scattered");
    for to in families(&mesh) {
        let from = mesh.address("plain", to).unwrap();
        hold(
            &mesh.pod("plain").netns,
            &servers(&mesh, to),
            from,
            &scattered(many(to)),
        );
    }
}

#[test]
fn scattered_ports_from_pod_to_pod() {
    let mesh = mesh("load-pod-to-pod");
    for to in families(&mesh) {
        let from = mesh.address("client", to).unwrap();
        hold(
            &mesh.pod("client").netns,
            &servers(&mesh, to),
            from,
            &scattered(many(to)),
        );
    }
}

#[test]
fn even_ports_odd_ports_and_a_row_of_ports() {
    let mesh = mesh("load-rows");
    let count = scaled(300);
    for to in families(&mesh) {
        let servers = &servers(&mesh, to)[..1];
        let from = mesh.address("plain", to).unwrap();
        for (first, step) in [(40000, 2), (40001, 2), (32768, 1), (GIVEN, 1)] {
            let ports: Vec<u16> = (first..).step_by(step).take(count).collect();
            hold(&mesh.pod("plain").netns, servers, from, &ports);
        }
    }
}

/// The client's own next port may be one under which the proxy speaks to the application for it already.
#[test]
fn a_client_takes_the_ports_under_which_the_application_knows_it() {
    let mesh = mesh("load-given");
    let plain = &mesh.pod("plain").netns;
    for to in families(&mesh) {
        let server = &servers(&mesh, to)[0];
        let from = mesh.address("plain", to).unwrap();
        plain.run_async(async || {
            let callers = (0..100).map(|id| server.caller(id).at_port(from, 2000 + id as u16));
            let first = open_all(callers.collect(), 20).await;
            let given = first.iter().map(Talk::seen);
            let callers = given.zip(1000..).map(|(given, id)| server.caller(id).at(given));
            let second = open_all(callers.collect(), 20).await;
            let first = ask_all(first, 5000).await;
            let second = ask_all(second, 5000).await;
            finish_all(first, Closer::Client).await;
            let second = ask_all(second, 5000).await;
            finish_all(second, Closer::Client).await;
        });
    }
}

/// Applications listen on every address of ports that the proxy's next connections would have. All of those work, by
/// ports around the listeners' and not by others.
fn calls_by_ports_around(mesh: &Mesh, to: IpAddr, _listeners: &[Socket]) {
    let server = &servers(mesh, to)[0];
    let plain = &mesh.pod("plain").netns;
    let seen = plain.run_async(async || call_all(callers(server, 600), 20, Closer::Client).await);
    let given = |seen: &SocketAddr| (GIVEN..GIVEN + 400).contains(&seen.port());
    assert!(seen.iter().any(given), "{seen:?}");
    assert!(seen.iter().all(|seen| !is_listened_on(seen.port())), "{seen:?}");
}

const fn is_listened_on(port: u16) -> bool {
    port >= GIVEN && port < GIVEN + 400 && (port - GIVEN).is_multiple_of(7)
}

fn listen(mesh: &Mesh, to: IpAddr) -> Vec<Socket> {
    let any = if to.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let pod = &mesh.pod("server").netns;
    (GIVEN..GIVEN + 400)
        .filter(|port| is_listened_on(*port))
        .map(|port| listener(pod, SocketAddr::new(any, port), false).unwrap())
        .collect()
}

#[test]
fn applications_listen_on_the_ports_that_are_given_next() {
    let mesh = mesh("load-listened");
    for to in families(&mesh) {
        calls_by_ports_around(&mesh, to, &listen(&mesh, to));
    }
}

#[test]
fn applications_have_listened_on_the_ports_that_are_given_next_since_before_the_enrolment() {
    for v4 in [true, false] {
        let mut mesh = mesh_without("load-listens", "server");
        let to = families(&mesh).into_iter().find(|to| to.is_ipv4() == v4).unwrap();
        let listeners = listen(&mesh, to);
        mesh.change("server", PodLine::enrol).unwrap();
        mesh.wait_state("server", "enrolled").unwrap();
        calls_by_ports_around(&mesh, to, &listeners);
    }
}
