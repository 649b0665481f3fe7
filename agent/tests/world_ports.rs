//! Ports that are used again: by clients, by probes, by servers.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on says so by a panic; each uses its part of what tests share"
)]

#[path = "support/serve.rs"]
mod serve;
#[path = "support/streams.rs"]
mod streams;
#[path = "support/tally.rs"]
mod tally;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use serve::serve;
use socket2::SockRef;
use streams::{accept, dial, drain, listen};
use tally::Tally;
use weir_agent::datapath::sys::{self, SysError};
use weir_common::reason::Reason;
use weir_testbeds::actor::Actor;
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Cause, Client, ClientSpec, Exchange, Server, ServerSpec, Step};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;

fn mesh(name: &str) -> Builder {
    Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
}

fn exchange(netns: &Netns, from: SocketAddr, to: SocketAddr) -> Exchange {
    let mut spec = ClientSpec::to(to).from_port(from);
    spec.reuse_address = true;
    Client::exchange(netns, &spec).unwrap()
}

/// The application sees ztunnel's connections under another port than the client's own.
fn is_captured(exchange: &Exchange) -> bool {
    assert_eq!(exchange.server.peer.ip(), exchange.local.ip());
    exchange.server.peer.port() != exchange.local.port()
}

#[test]
fn a_client_may_use_the_port_that_the_application_has_seen() {
    let mesh = mesh("port-again").start().unwrap();
    for to in mesh.pod("server").addresses().iter() {
        let server = ServerSpec::new("server", SocketAddr::new(to, PORT));
        let _server = Server::start(&mesh.pod("server").netns, &server).unwrap();
        let to = SocketAddr::new(to, PORT);
        for netns in [&mesh.world.remote.netns, &mesh.pod("client").netns] {
            let mut first = Client::connect(netns, &ClientSpec::to(to)).unwrap();
            let seen = first.report().server.peer;
            assert!(is_captured(first.report()));
            let mut second = Client::connect(netns, &ClientSpec::to(to).from_port(seen)).unwrap();
            assert!(is_captured(second.report()), "{:?}", second.report());
            for text in [b"one", b"two"] {
                first.exchange(text).unwrap();
                second.exchange(text).unwrap();
            }
            let seen = second.report().server.peer;
            second.close().unwrap();
            first.close().unwrap();
            let afterwards = exchange(netns, seen, to);
            assert!(is_captured(&afterwards), "{afterwards:?}");
        }
    }
}

/// Who ends a probe, and how.
#[derive(Clone, Copy, Debug)]
enum End {
    ByReset,
    ByServer,
}

#[test]
fn the_port_of_a_probe_lets_nobody_else_through() {
    let pods = Cgroup::new("pods").unwrap();
    let host_network = pods.child("host-network").unwrap();
    let mesh = mesh("probe-port")
        .flag("--pods-cgroup")
        .flag(pods.path().to_str().unwrap())
        .start()
        .unwrap();
    let tally = Tally::of(&mesh, "server");
    let (node, server) = (&mesh.world.node, mesh.pod("server"));
    let mut port = 42_000;
    for to in server
        .addresses()
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        for end in [End::ByReset, End::ByServer] {
            port += 1;
            let from = SocketAddr::new(probe_source(&mesh, to), port);
            let before = tally.count(Reason::Probe);
            probe(&mesh, from, to, end);
            assert!(tally.count(Reason::Probe) > before, "{end:?}: it was no probe");
            let _server = serve(&server.netns, &ServerSpec::new("server", to));
            let mut process = Actor::start(&node.netns, Some(&host_network)).unwrap();
            let mut spec = ClientSpec::to(to).from_port(from);
            spec.reuse_address = true;
            let seen = process.exchange(&spec).unwrap();
            assert!(is_captured(&seen), "{end:?}: let through: {seen:?}");
        }
    }
}

/// The node's address that its connections to the pod come from.
fn probe_source(mesh: &Mesh, to: SocketAddr) -> std::net::IpAddr {
    mesh.world.node.address_like(to.ip()).unwrap()
}

fn probe(mesh: &Mesh, from: SocketAddr, to: SocketAddr, end: End) {
    let listener = listen(&mesh.pod("server").netns, to);
    let client = Client::prepare(&mesh.world.node.netns, &ClientSpec::to(to).from_port(from)).unwrap();
    client.socket().connect(&to.into()).unwrap();
    let served = accept(&listener);
    assert_eq!(served.peer_addr().unwrap(), from, "a probe shows its own address");
    match end {
        End::ByReset => {
            client.socket().set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
            drain(&served);
        }
        End::ByServer => {
            drop(served);
            let mut end = [std::mem::MaybeUninit::uninit(); 1];
            assert_eq!(client.socket().recv(&mut end).unwrap(), 0);
        }
    }
}

#[test]
fn a_server_without_reuse_listens_again_while_captured_connections_are_open() {
    listens_again(&mesh("listen-again").start().unwrap());
}

/// Nobody was there to set up its listeners as they began to listen.
#[test]
fn a_server_without_reuse_listens_again_where_ztunnel_was_there_before_the_agent() {
    let mut mesh = mesh("listen-before").start().unwrap();
    mesh.agent.kill();
    std::fs::remove_dir_all(mesh.agent.pin_root()).unwrap();
    let proxy = mesh.proxy.id().unwrap();
    for descriptor in std::fs::read_dir(format!("/proc/{proxy}/fd")).unwrap() {
        let descriptor = descriptor.unwrap().file_name();
        let descriptor = descriptor.to_str().unwrap().parse().unwrap();
        let pidfd = sys::pidfd_open(proxy).unwrap();
        let copy = sys::pidfd_getfd(pidfd.as_fd(), descriptor);
        let is_closed = |error: &SysError| error.errno() == Some(libc::EBADF);
        if copy.as_ref().is_err_and(is_closed) {
            // The proxy has closed it since it was listed.
            continue;
        }
        // Those that are no sockets say so.
        SockRef::from(&copy.unwrap()).set_reuse_address(false).ok();
    }
    mesh.agent.restart().unwrap();
    mesh.settled().unwrap();
    mesh.proxy.wait_ready(PATIENCE).unwrap();
    listens_again(&mesh);
}

fn listens_again(mesh: &Mesh) {
    let server = &mesh.pod("server").netns;
    for to in mesh
        .pod("server")
        .addresses()
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        let mut spec = ServerSpec::new("first", to);
        spec.reuse_address = false;
        let mut first = Actor::start(server, None).unwrap();
        first.serve(&spec).unwrap();
        for client in [&mesh.world.remote.netns, &mesh.pod("client").netns] {
            // Unread, unclosed: they stay as they are when the server goes.
            let mut left_open = dial(client, to);
            left_open.write_all(b"x").unwrap();
            left_open.read_exact(&mut [0; 1]).unwrap();
            drop(first);
            first = Actor::start(server, None).unwrap();
            first.serve(&spec).unwrap();
            let seen = Client::exchange(client, &ClientSpec::to(to)).unwrap();
            assert!(is_captured(&seen));
        }
    }
}

#[test]
fn a_server_without_reuse_listens_on_a_port_that_the_pod_dials() {
    let mesh = mesh("listen-dialled").start().unwrap();
    let remote = &mesh.world.remote;
    let client = &mesh.pod("client").netns;
    for to in remote
        .addresses
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        let listener = listen(&remote.netns, to);
        let _open = dial(client, to);
        let _served = accept(&listener);
        let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
        let mut spec = ServerSpec::new("own", SocketAddr::new(any.parse().unwrap(), PORT));
        spec.reuse_address = false;
        Server::start(client, &spec).unwrap();
    }
}

#[test]
fn two_servers_on_one_port_still_conflict() {
    let mesh = mesh("two-servers").start().unwrap();
    let pod = mesh.pod("server");
    for at in pod
        .addresses()
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        for reuse in [true, false] {
            let mut spec = ServerSpec::new("one", at);
            spec.reuse_address = reuse;
            let _one = Server::start(&pod.netns, &spec).unwrap();
            let two = Server::start(&pod.netns, &spec).unwrap_err();
            assert_eq!(two.cause, Cause::AddressInUse);
            assert!(matches!(two.step, Step::Bind | Step::Listen));
        }
    }
}

#[test]
fn two_udp_binds_of_one_port_still_conflict() {
    let mesh = mesh("two-udp").start().unwrap();
    let pod = mesh.pod("server");
    for at in pod
        .addresses()
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        let bind = || pod.netns.run(|| UdpSocket::bind(at));
        let first = bind().unwrap();
        assert!(!SockRef::from(&first).reuse_address().unwrap());
        assert_eq!(bind().unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    }
}

/// Many connections from one client to one server, all open at once, then all over again.
#[test]
fn a_client_that_walks_through_its_ports_never_meets_ztunnels() {
    let mesh = mesh("walk").start().unwrap();
    let remote = &mesh.world.remote;
    for to in mesh
        .pod("server")
        .addresses()
        .iter()
        .map(|address| SocketAddr::new(address, PORT))
    {
        let _server = Server::start(&mesh.pod("server").netns, &ServerSpec::new("server", to)).unwrap();
        let source = remote.address_like(to.ip()).unwrap();
        // ztunnel chooses from the same range, in turn.
        let open = (32_768..32_868).map(|port| {
            let spec = ClientSpec::to(to).from_port(SocketAddr::new(source, port));
            Client::connect(&remote.netns, &spec).unwrap_or_else(|failure| {
                let no_listener = Tally::of(&mesh, "server").count(Reason::NoListener);
                panic!("from {port}: {failure}; {no_listener} found no listener")
            })
        });
        let open: Vec<_> = open.collect();
        assert!(open.iter().all(|connection| is_captured(connection.report())));
        for connection in open {
            connection.close().unwrap();
        }
    }
    let tally = Tally::of(&mesh, "server");
    eventually(PATIENCE, || (tally.claims() == 0).then_some(())).unwrap();
}
