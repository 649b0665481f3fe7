//! Both ends of a connection in the test's own hands.

use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::netns::Netns;

/// How long a read or a write may take before it counts as hanging.
pub const PROMPT: Duration = Duration::from_secs(5);

/// A listener of a namespace. A program that another test is starting may hold a copy of the one before for a moment.
pub fn listen(netns: &Netns, at: SocketAddr) -> TcpListener {
    let bound = eventually(PATIENCE, || match netns.run(|| TcpListener::bind(at)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        other => Some(other),
    });
    bound.unwrap().unwrap()
}

/// Connects from a namespace.
pub fn dial(netns: &Netns, to: SocketAddr) -> TcpStream {
    let stream = netns.run(|| TcpStream::connect_timeout(&to, PROMPT)).unwrap();
    limit(&stream);
    stream
}

/// Takes the next connection.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let (stream, _) = eventually(PATIENCE, || match listener.accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        other => Some(other.unwrap()),
    })
    .unwrap();
    stream.set_nonblocking(false).unwrap();
    limit(&stream);
    stream
}

/// Reads until the other side has ended; says what came and whether it ended in order.
pub fn drain(mut stream: &TcpStream) -> (Vec<u8>, Ending) {
    let mut bytes = Vec::new();
    let ending = match stream.read_to_end(&mut bytes) {
        Ok(_) => Ending::Closed,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ending::Reset,
        Err(error) => panic!("the connection hangs instead of ending: {error}"),
    };
    (bytes, ending)
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Closed,
    Reset,
}

fn limit(stream: &TcpStream) {
    stream.set_read_timeout(Some(PROMPT)).unwrap();
    stream.set_write_timeout(Some(PROMPT)).unwrap();
}
