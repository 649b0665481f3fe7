//! How connections end: killed, half closed, reset, given up early. Whatever happens, the other side hears of it and
//! nothing strays to the wire.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on says so by a panic; each uses its part of what tests share"
)]

#[path = "support/streams.rs"]
mod streams;
#[path = "support/tally.rs"]
mod tally;
#[path = "support/wire.rs"]
mod wire;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpRepair;
use socket2::{Domain, SockRef, Socket, Type};
use streams::{Ending, accept, dial, drain, listen};
use tally::Tally;
use weir_agent::datapath::sys::{pidfd_getfd, pidfd_open};
use weir_common::reason::Reason;
use weir_testbeds::actor::Actor;
use weir_testbeds::capture::Segment;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{ClientSpec, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring};
use wire::Wire;

/// Each route of a test has a port of its own from here on.
const FIRST_PORT: u16 = 8080;

/// The three ways through the mesh, each with the pods whose wires are watched.
#[derive(Clone, Copy, Debug)]
enum Way {
    Outbound,
    Inbound,
    Tunnel,
}

const WAYS: [Way; 3] = [Way::Outbound, Way::Inbound, Way::Tunnel];

/// One way at one family.
struct Route<'a> {
    way: Way,
    client: &'a Netns,
    server: &'a Netns,
    to: SocketAddr,
    wires: Vec<Wire>,
}

/// With a veth, and without.
const WIRINGS: [Wiring; 2] = [Wiring::PointToPoint, Wiring::MacvlanBridge];

fn mesh(name: &str, wiring: Wiring) -> Mesh {
    Mesh::builder(name)
        .wiring(wiring)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .start()
        .unwrap()
}

impl<'a> Route<'a> {
    fn new(mesh: &'a Mesh, way: Way, v4: bool, port: u16) -> Self {
        let (client, server) = (mesh.pod("client"), mesh.pod("server"));
        let remote = &mesh.world.remote;
        let (from, onto, addresses, watched) = match way {
            Way::Outbound => (&client.netns, &remote.netns, remote.addresses, vec![client]),
            Way::Inbound => (&remote.netns, &server.netns, server.addresses(), vec![server]),
            Way::Tunnel => (
                &client.netns,
                &server.netns,
                server.addresses(),
                vec![client, server],
            ),
        };
        let address = addresses.iter().find(|address| address.is_ipv4() == v4).unwrap();
        Self {
            way,
            client: from,
            server: onto,
            to: SocketAddr::new(address, port),
            wires: watched.into_iter().map(Wire::of).collect(),
        }
    }

    fn listen(&self) -> TcpListener {
        listen(self.server, self.to)
    }

    /// Both ends of a connection, of which something has passed.
    fn pair(&self) -> (TcpStream, TcpStream) {
        let listener = self.listen();
        let mut client = dial(self.client, self.to);
        let mut server = accept(&listener);
        client.write_all(b"hello").unwrap();
        let mut hello = [0; 5];
        server.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        (client, server)
    }

    /// Only ztunnel's own connections and the client's outside of the mesh have been on the wire.
    fn assert_no_strays(&self, client: SocketAddr) {
        for wire in &self.wires {
            wire.carried_only(|segment| self.is_late(segment) || self.belongs(wire, segment, client));
        }
    }

    /// The last words of a connection of an earlier route.
    fn is_late(&self, segment: &Segment) -> bool {
        let earlier = FIRST_PORT..self.to.port();
        earlier.contains(&segment.source.port()) || earlier.contains(&segment.destination.port())
    }

    fn belongs(&self, wire: &Wire, segment: &Segment, client: SocketAddr) -> bool {
        match self.way {
            Way::Outbound => wire::with(segment, self.to) && wire.pod_side(segment) != client,
            Way::Inbound => wire::between(segment, client, self.to),
            Way::Tunnel => wire::in_tunnel(segment),
        }
    }
}

fn all_routes() -> impl Iterator<Item = (Way, bool, u16)> {
    let families = WAYS.into_iter().flat_map(|way| [(way, true), (way, false)]);
    families
        .zip(FIRST_PORT..)
        .map(|((way, v4), port)| (way, v4, port))
}

fn on_every_route(name: &str, test: impl Fn(&Route<'_>)) {
    for wiring in WIRINGS {
        let mesh = mesh(name, wiring);
        for (way, v4, port) in all_routes() {
            println!("{wiring:?}, {way:?}, {}", if v4 { "IPv4" } else { "IPv6" });
            test(&Route::new(&mesh, way, v4, port));
        }
        assert_all_claims_end(&mesh);
    }
}

/// A port that a closed connection still claims would be missing for the client's next one.
fn assert_all_claims_end(mesh: &Mesh) {
    let tally = Tally::of(mesh, "server");
    eventually(PATIENCE, || (tally.claims() == 0).then_some(()))
        .unwrap_or_else(|late| panic!("{} claims stay: {late}", tally.claims()));
}

/// Writes until the connection reports its end.
fn write_until_broken(mut stream: &TcpStream) {
    let broken = eventually(PATIENCE, || stream.write_all(&[7; 4096]).err());
    let kind = broken.unwrap().kind();
    assert!(
        matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
        "{kind}"
    );
}

#[test]
fn the_client_can_close_its_half_first() {
    on_every_route("half-client", |route| {
        let (mut client, mut server) = route.pair();
        let local = client.local_addr().unwrap();
        client.write_all(b"last words").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(drain(&server), (b"last words".to_vec(), Ending::Closed));
        server.write_all(b"answer").unwrap();
        drop(server);
        assert_eq!(drain(&client), (b"answer".to_vec(), Ending::Closed));
        route.assert_no_strays(local);
    });
}

#[test]
fn the_server_can_close_its_half_first() {
    on_every_route("half-server", |route| {
        let (mut client, mut server) = route.pair();
        let local = client.local_addr().unwrap();
        server.write_all(b"farewell").unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(drain(&client), (b"farewell".to_vec(), Ending::Closed));
        client.write_all(b"more").unwrap();
        drop(client);
        assert_eq!(drain(&server), (b"more".to_vec(), Ending::Closed));
        route.assert_no_strays(local);
    });
}

#[test]
fn a_reset_by_the_client_ends_the_server() {
    on_every_route("reset-client", |route| {
        let (client, server) = route.pair();
        let local = client.local_addr().unwrap();
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(drain(&server).0, b"");
        write_until_broken(&server);
        route.assert_no_strays(local);
    });
}

#[test]
fn a_reset_by_the_server_ends_the_client() {
    on_every_route("reset-server", |route| {
        let (client, server) = route.pair();
        let local = client.local_addr().unwrap();
        SockRef::from(&server).set_linger(Some(Duration::ZERO)).unwrap();
        drop(server);
        assert_eq!(drain(&client).0, b"");
        write_until_broken(&client);
        route.assert_no_strays(local);
    });
}

/// Data for a socket that is gone must not be answered to the wire.
#[test]
fn a_server_killed_with_data_in_flight_ends_the_client() {
    on_every_route("kill-server", |route| {
        let mut application = Actor::start(route.server, None).unwrap();
        application.serve(&ServerSpec::new("app", route.to)).unwrap();
        let client = dial(route.client, route.to);
        let local = client.local_addr().unwrap();
        let mut first = [0; 1];
        (&client).read_exact(&mut first).unwrap();
        // It is echoed, and nobody reads that: both directions are full when the application goes.
        let writing = client.try_clone().unwrap();
        let pouring = std::thread::spawn(move || write_until_broken(&writing));
        eventually(PATIENCE, || {
            (SockRef::from(&client)
                .peek(&mut [std::mem::MaybeUninit::uninit(); 1])
                .ok()?
                > 0)
            .then_some(())
        })
        .unwrap();
        drop(application);
        drain(&client);
        pouring.join().unwrap();
        route.assert_no_strays(local);
    });
}

#[test]
fn a_client_killed_with_data_in_flight_ends_the_server() {
    on_every_route("kill-client", |route| {
        let server = Server::start(route.server, &ServerSpec::new("server", route.to)).unwrap();
        let mut application = Actor::start(route.client, None).unwrap();
        let held = application.open(&ClientSpec::to(route.to)).unwrap();
        let local = held.exchange.local;
        application.pour(&held, 1 << 20).unwrap();
        drop(application);
        let ended = server.settle(PATIENCE, |guests| guests.iter().all(|guest| guest.closed));
        assert_eq!(ended.unwrap().len(), 1);
        route.assert_no_strays(local);
    });
}

/// A reset that overtakes data counts for nothing, and whoever has sent it is gone: what is said to it then has to be
/// answered, and the answer heard by a socket that is bound to loopback.
#[test]
fn a_server_whose_client_is_gone_without_a_word_hears_of_it() {
    let mut mesh = mesh("wordless", Wiring::PointToPoint);
    let open: Vec<_> = [true, false]
        .into_iter()
        .zip(FIRST_PORT..)
        .map(|(v4, port)| Route::new(&mesh, Way::Inbound, v4, port).pair())
        .collect();
    for (_, server) in &open {
        silence(mesh.proxy.id().unwrap(), server.peer_addr().unwrap());
    }
    mesh.proxy.kill();
    mesh.proxy.restart().unwrap();
    mesh.proxy.wait_ready(PATIENCE).unwrap();
    for (_, server) in &open {
        write_until_broken(server);
    }
}

/// Has a process's socket end without a word when it is closed.
fn silence(process: u32, local: SocketAddr) {
    let pidfd = pidfd_open(process).unwrap();
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let mut sockets = descriptors.filter_map(|entry| {
        let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Some(Socket::from(pidfd_getfd(pidfd.as_fd(), number).ok()?))
    });
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let is_it = |socket: &Socket| {
        let own = socket.local_addr().ok().and_then(|own| own.as_socket());
        own.is_some_and(|own| canonical(own) == local)
    };
    let socket = sockets.find(is_it).unwrap();
    setsockopt(&socket, TcpRepair, &1).unwrap();
}

/// A connect that is given up at once: whatever is in flight then must find its end in the pod.
#[test]
fn connections_given_up_at_once_leave_nothing() {
    let mesh = mesh("given-up", Wiring::PointToPoint);
    for (way, v4, port) in all_routes() {
        let route = Route::new(&mesh, way, v4, port);
        let server = Server::start(route.server, &ServerSpec::new("server", route.to)).unwrap();
        for port in GIVEN_UP {
            give_up(&route, port);
        }
        let mut application = Actor::start(route.client, None).unwrap();
        let seen = application.exchange(&ClientSpec::to(route.to)).unwrap();
        assert_eq!(seen.peer, route.to, "new connections go on");
        server
            .settle(PATIENCE, |guests| guests.iter().all(|guest| guest.closed))
            .unwrap();
        for wire in &route.wires {
            // The application's ports are known, so none of them may be seen where it is captured.
            let belongs = |segment: &Segment| match way {
                Way::Outbound => !GIVEN_UP.contains(&wire.pod_side(segment).port()),
                Way::Inbound => wire::with(segment, route.to),
                Way::Tunnel => wire::in_tunnel(segment),
            };
            wire.carried_only(|segment| route.is_late(segment) || belongs(segment));
        }
    }
    assert_eq!(Tally::of(&mesh, "client").count(Reason::NoListener), 0);
    assert_all_claims_end(&mesh);
}

const GIVEN_UP: std::ops::Range<u16> = 41_000..41_040;

fn give_up(route: &Route<'_>, port: u16) {
    route.client.run(|| {
        let socket = Socket::new(Domain::for_address(route.to), Type::STREAM.nonblocking(), None).unwrap();
        let any = if route.to.is_ipv4() { "0.0.0.0" } else { "::" };
        let from = SocketAddr::new(any.parse().unwrap(), port);
        socket.bind(&from.into()).unwrap();
        // Refused or under way, it is closed before anybody looks.
        socket.connect(&route.to.into()).unwrap_or_default();
    });
}
