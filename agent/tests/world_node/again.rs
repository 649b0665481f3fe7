//! Ports that are used twice: by clients while ztunnel's end of the last connection from it still rests, and never by two
//! ztunnels at once.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::Direction;
use weir_testbeds::traffic::{Client, ClientSpec, Connection};
use weir_testbeds::world::Wiring;

use crate::scene::{PORT, exchange, mesh, mesh_of_the_stand_in, of_pod, of_remote, serve};

on_every_wiring! {
    a_port_is_used_again_at_once,
    ztunnels_that_overlap_share_no_ports,
}

/// Less than connections rest, and enough for a SYN that was lost by accident.
const SOON: Duration = Duration::from_secs(5);
pub const SOURCE: u16 = 23456;

/// Whoever hangs up first has the end that rests: here the server, and so ztunnel towards the client.
pub fn hang_up_first(netns: &Netns) {
    let listener = netns
        .run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)))
        .unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            connection.unwrap().write_all(b"bye").unwrap();
        }
    });
}

pub fn connect(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), SOON)?;
    socket.set_read_timeout(Some(SOON))?;
    Ok(socket.into())
}

pub fn call(from: SocketAddr, to: SocketAddr) -> io::Result<String> {
    let mut said = String::new();
    connect(from, to)?.read_to_string(&mut said)?;
    Ok(said)
}

fn a_port_is_used_again_at_once(wiring: Wiring) {
    let mesh = mesh("node-again", wiring);
    hang_up_first(&mesh.world.remote.netns);
    hang_up_first(&mesh.pod("client").netns);
    let (pod, remote) = (mesh.pod("client"), &mesh.world.remote);
    let outward = pod
        .addresses()
        .iter()
        .zip(of_remote(&mesh))
        .map(|way| (&pod.netns, way));
    let inward = remote.addresses.iter().zip(of_pod(&mesh, "client"));
    let inward = inward.map(|way| (&remote.netns, way));
    for (netns, (from, to)) in outward.chain(inward) {
        let from = SocketAddr::new(from, SOURCE);
        for turn in 0..3 {
            // The client's own end may not have heard the last word yet.
            let said = eventually(PATIENCE, || match netns.run(|| call(from, to)) {
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => None,
                said => Some(said),
            });
            assert_eq!(said.unwrap().unwrap(), "bye", "{from} to {to}, turn {turn}");
        }
    }
}

/// Both speak in the same pods' names: with a port of the other's the newer one would take over what that still holds.
fn ztunnels_that_overlap_share_no_ports(wiring: Wiring) {
    let mut mesh = mesh_of_the_stand_in("node-ports", wiring);
    let _server = serve(&mesh.world.remote.netns);
    let mut held = hold(&mesh);
    let cgroup = Cgroup::new("ztunnel").unwrap();
    let newer = mesh.another_ztunnel("ztunnel-2", wiring, &cgroup).unwrap();
    let took_over = eventually(PATIENCE, || {
        exchange(&mesh.pod("client").netns, of_remote(&mesh)[0]);
        let records = newer.connections();
        records
            .iter()
            .any(|record| record.direction == Direction::Outbound)
            .then_some(())
    });
    took_over.unwrap();
    let more = hold(&mesh);
    let (older, newer) = (ports(&held), ports(&more));
    assert!(
        older.end() < newer.start() || newer.end() < older.start(),
        "ports from {older:?} and from {newer:?}"
    );
    for held in &mut held {
        held.exchange(b"still there?").unwrap();
    }
}

fn hold(mesh: &Mesh) -> Vec<Connection> {
    let client = &mesh.pod("client").netns;
    let to = of_remote(mesh).into_iter().cycle().take(16);
    to.map(|to| Client::connect(client, &ClientSpec::to(to)).unwrap())
        .collect()
}

/// From the least to the greatest, as servers see them.
fn ports(held: &[Connection]) -> RangeInclusive<u16> {
    let ports = || held.iter().map(|held| held.report().server.peer.port());
    ports().min().unwrap()..=ports().max().unwrap()
}
