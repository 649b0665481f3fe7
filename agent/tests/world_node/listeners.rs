//! ztunnel's listeners that are kept once they are found: each connection finds the right one, whatever is kept.

use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

use aya::maps::{Map, MapData, SockMap};
use socket2::{Domain, Socket, Type};
use weir_agent::datapath::Pins;
use weir_common::names::map;
use weir_common::ports;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::Direction;
use weir_testbeds::world::Wiring;

use crate::again::{SOURCE, call, connect, hang_up_first};
use crate::life::quickly;
use crate::scene::{assert_captured, exchange, mesh_of_the_stand_in, of_pod, of_remote, serve};

on_every_wiring! {
    a_listener_is_kept_while_it_listens,
    whatever_is_kept_ztunnel_takes_connections,
    one_that_is_kept_takes_connections_as_long_as_it_listens,
    an_open_connection_to_ztunnels_port_is_not_taken_for_the_listener,
}

/// Both IP versions, three ports.
const PLACES: u32 = 6;
const IF_EMPTY: u64 = 1;

struct Found(SockMap<MapData>);

impl Found {
    fn of(mesh: &Mesh) -> Self {
        let pin = Pins::new(mesh.agent.pin_root()).map(map::FOUND);
        Self(Map::SockMap(MapData::from_pin(pin).unwrap()).try_into().unwrap())
    }

    /// In the place of all that are kept.
    fn keep(&mut self, listener: &Socket) {
        for place in 0..PLACES {
            self.0.set(place, listener, 0).unwrap();
        }
    }

    fn clear(&mut self) {
        for place in 0..PLACES {
            // What is not there is not there.
            self.0.clear_index(&place).unwrap_or_default();
        }
    }

    /// How many are kept. Nobody can read a socket out of the map, but its place is taken.
    fn count(&mut self, stranger: &Socket) -> usize {
        let is_taken = |place: &u32| match self.0.set(*place, stranger, IF_EMPTY) {
            Ok(()) => {
                self.0.clear_index(place).unwrap();
                false
            }
            Err(_) => true,
        };
        (0..PLACES).filter(is_taken).count()
    }
}

/// A listener on all addresses and some port, like ztunnel's.
fn listen(netns: &Netns) -> Socket {
    netns
        .run(|| {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
            socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
            socket.set_ip_transparent_v4(true)?;
            socket.listen(16)?;
            std::io::Result::Ok(socket)
        })
        .unwrap()
}

/// From and to pods, in both IP versions.
fn exchange_all(mesh: &Mesh) {
    for to in of_remote(mesh) {
        assert_captured(
            mesh,
            Direction::Outbound,
            &exchange(&mesh.pod("client").netns, to),
        );
    }
    for to in of_pod(mesh, "server") {
        assert_captured(mesh, Direction::Inbound, &exchange(&mesh.world.remote.netns, to));
    }
}

fn a_listener_is_kept_while_it_listens(wiring: Wiring) {
    let mut mesh = mesh_of_the_stand_in("node-kept", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    let stranger = listen(&mesh.world.remote.netns);
    let mut found = Found::of(&mesh);
    assert_eq!(found.count(&stranger), 0);
    exchange_all(&mesh);
    assert_eq!(found.count(&stranger), 4, "two ports, two IP versions");
    mesh.proxy.kill();
    eventually(PATIENCE, || (found.count(&stranger) == 0).then_some(())).unwrap();
    mesh.proxy.restart().unwrap();
    let to = of_remote(&mesh)[0];
    eventually(PATIENCE, || quickly(&mesh.pod("client").netns, to)).unwrap();
    exchange_all(&mesh);
    assert_eq!(found.count(&stranger), 4, "those of the new one");
}

fn whatever_is_kept_ztunnel_takes_connections(wiring: Wiring) {
    let mesh = mesh_of_the_stand_in("node-else", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    let mut found = Found::of(&mesh);
    // As another ztunnel's are, while one replaces the other.
    let elsewhere = listen(&mesh.pod("plain").netns);
    for _ in 0..2 {
        found.keep(&elsewhere);
        exchange_all(&mesh);
        found.clear();
        exchange_all(&mesh);
    }
}

fn one_that_is_kept_takes_connections_as_long_as_it_listens(wiring: Wiring) {
    let mesh = mesh_of_the_stand_in("node-ends", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    let listener = listen(mesh.proxy_netns());
    let mut found = Found::of(&mesh);
    found.keep(&listener);
    let accepting = TcpListener::from(listener.try_clone().unwrap());
    for to in of_remote(&mesh) {
        let connect = || TcpStream::connect_timeout(&to, PATIENCE);
        let client = mesh.pod("client").netns.run(connect).unwrap();
        let (accepted, peer) = accepting.accept().unwrap();
        let plain = |end: SocketAddr| (end.ip().to_canonical(), end.port());
        assert_eq!(plain(accepted.local_addr().unwrap()), plain(to));
        assert_eq!(plain(peer), plain(client.local_addr().unwrap()));
    }
    listener.shutdown(Shutdown::Both).unwrap();
    exchange_all(&mesh);
}

/// The application's connection is between the very ends that ztunnel's listener has towards the same client.
fn an_open_connection_to_ztunnels_port_is_not_taken_for_the_listener(wiring: Wiring) {
    let mesh = mesh_of_the_stand_in("node-port", wiring);
    let remote = &mesh.world.remote.netns;
    let listen = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, ports::OUTBOUND));
    let _server = remote.run(listen).unwrap();
    hang_up_first(remote);
    let client = mesh.pod("client");
    for (own, to) in client.addresses().iter().zip(of_remote(&mesh)) {
        let from = SocketAddr::new(own, SOURCE);
        let _open = client
            .netns
            .run(|| connect(from, SocketAddr::new(to.ip(), ports::OUTBOUND)))
            .unwrap();
        Found::of(&mesh).clear();
        assert_eq!(
            client.netns.run(|| call(from, to)).unwrap(),
            "bye",
            "{from} to {to}"
        );
    }
}
