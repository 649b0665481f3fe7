//! Servers and clients report what they saw, and why they failed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Cause, Client, ClientSpec, Server, ServerSpec, Step};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn served() -> (Netns, Server) {
    let netns = Netns::new().unwrap();
    let server = Server::start(&netns, &ServerSpec::new("app", LOOPBACK)).unwrap();
    (netns, server)
}

#[test]
fn a_server_remembers_who_came_and_how_much() {
    let (netns, server) = served();
    let mut connection = Client::connect(&netns, &ClientSpec::to(server.address())).unwrap();
    connection.exchange(b"first").unwrap();
    connection.exchange(b"second").unwrap();
    let open = server.connections();
    assert_eq!((open.len(), open[0].received, open[0].closed), (1, 11, false));
    assert_eq!(open[0].report.peer, connection.report().local);
    connection.close().unwrap();
    server.settle(PATIENCE, |all| all[0].closed).unwrap();
}

#[test]
fn the_source_is_the_one_that_was_bound() {
    let (netns, server) = served();
    let source = SocketAddr::from(([127, 1, 2, 3], 40_001));
    let seen = Client::exchange(&netns, &ClientSpec::to(server.address()).from_port(source)).unwrap();
    assert_eq!((seen.local, seen.server.peer), (source, source));
}

#[test]
fn a_v4_mapped_client_sees_mapped_addresses_and_the_server_does_not() {
    let (netns, server) = served();
    let seen = Client::exchange(&netns, &ClientSpec::to(server.address()).v4_mapped()).unwrap();
    assert_eq!(seen.peer.ip().to_string(), "::ffff:127.0.0.1");
    assert_eq!(seen.server.local, server.address());
}

#[test]
fn a_client_bound_to_a_device_that_leads_elsewhere_fails() {
    let (netns, server) = served();
    Client::exchange(&netns, &ClientSpec::to(server.address()).device("lo")).unwrap();
    let failure = Client::exchange(&netns, &ClientSpec::to(server.address()).device("eth9")).unwrap_err();
    assert_eq!(
        (failure.step, failure.cause),
        (Step::Bind, Cause::Other(nix::errno::Errno::ENODEV as i32))
    );
}

#[test]
fn a_port_without_a_listener_refuses_blocking_and_nonblocking_clients() {
    let (netns, server) = served();
    let address = server.address();
    drop(server);
    for spec in [ClientSpec::to(address), ClientSpec::to(address).nonblocking()] {
        let failure = Client::exchange(&netns, &spec).unwrap_err();
        assert_eq!((failure.step, failure.cause), (Step::Connect, Cause::Refused));
    }
}

#[test]
fn a_destination_that_does_not_answer_ends_with_the_deadline() {
    let netns = Netns::new().unwrap();
    // Nothing is routed there, which the kernel says at once.
    let nowhere = SocketAddr::from(([198, 51, 100, 1], 80));
    assert_eq!(
        Client::exchange(&netns, &ClientSpec::to(nowhere))
            .unwrap_err()
            .cause,
        Cause::Unreachable
    );
    // A full backlog does not answer at all.
    let listener = netns.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&LOOPBACK.into()).unwrap();
        socket.listen(0).unwrap();
        socket
    });
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _first = netns.run(|| std::net::TcpStream::connect(address)).unwrap();
    let spec = ClientSpec::to(address).deadline(Duration::from_millis(200));
    for spec in [spec.clone(), spec.nonblocking()] {
        assert_eq!(
            Client::exchange(&netns, &spec).unwrap_err().cause,
            Cause::TimedOut
        );
    }
}

#[test]
fn a_half_closed_connection_still_receives() {
    let (netns, server) = served();
    let connection = Client::connect(&netns, &ClientSpec::to(server.address())).unwrap();
    assert_eq!(connection.half_close(b"the last words").unwrap(), 14);
}

#[test]
fn bulk_comes_back_unaltered_on_a_connection_that_goes_on() {
    let (netns, server) = served();
    let mut connection = Client::connect(&netns, &ClientSpec::to(server.address())).unwrap();
    assert_eq!(connection.bulk(5_000_001).unwrap().bytes, 5_000_001);
    connection.exchange(b"still here").unwrap();
    assert_eq!(server.connections()[0].received, 5_000_011);
}

#[test]
fn without_reuse_address_a_port_in_use_cannot_be_listened_on_again() {
    let (netns, server) = served();
    let address = server.address();
    let connection = Client::connect(&netns, &ClientSpec::to(address)).unwrap();
    // The server closes first, so its side of the connection stays in TIME_WAIT.
    drop(server);
    drop(connection);
    let strict = ServerSpec {
        reuse_address: false,
        ..ServerSpec::new("strict", address)
    };
    let failure = Server::start(&netns, &strict).unwrap_err();
    assert_eq!((failure.step, failure.cause), (Step::Bind, Cause::AddressInUse));
    Server::start(&netns, &ServerSpec::new("usual", address)).unwrap();
}

#[test]
fn a_prepared_socket_connects_later() {
    let (netns, server) = served();
    let client = Client::prepare(&netns, &ClientSpec::to(server.address())).unwrap();
    assert_eq!(server.connections(), []);
    assert_eq!(client.finish().unwrap().converse().unwrap().server.server, "app");
}

#[test]
fn a_server_that_stops_ends_its_connections() {
    let (netns, server) = served();
    let mut connection = Client::connect(&netns, &ClientSpec::to(server.address())).unwrap();
    drop(server);
    let failure = connection.exchange(b"anyone?").unwrap_err();
    assert!(matches!(failure.cause, Cause::Closed | Cause::Reset), "{failure}");
}
