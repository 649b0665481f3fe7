//! Clients that use a port again while ztunnel's end of the last connection from it still rests.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::netns::Netns;
use weir_testbeds::world::Wiring;

use crate::scene::{PORT, mesh, of_pod, of_remote};

on_every_wiring! {
    a_port_is_used_again_at_once,
}

/// Less than connections rest, and enough for a SYN that was lost by accident.
const SOON: Duration = Duration::from_secs(5);
const SOURCE: u16 = 23456;

/// Whoever hangs up first has the end that rests: here the server, and so ztunnel towards the client.
fn hang_up_first(netns: &Netns) {
    let listener = netns
        .run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)))
        .unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            connection.unwrap().write_all(b"bye").unwrap();
        }
    });
}

fn call(from: SocketAddr, to: SocketAddr) -> io::Result<String> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), SOON)?;
    socket.set_read_timeout(Some(SOON))?;
    let mut said = String::new();
    TcpStream::from(socket).read_to_string(&mut said)?;
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
