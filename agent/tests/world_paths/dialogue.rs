//! Speaking with a server over a socket that a test has connected in a way of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use socket2::Socket;
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::traffic::Exchange;

/// Reads the greeting and has a few bytes echoed; the connection stays open.
pub fn converse(socket: &Socket) -> Exchange {
    let stream = TcpStream::from(socket.try_clone().unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let seen = greeted(socket, &mut reader);
    reader.get_mut().write_all(b"ping").unwrap();
    let mut echo = [0; 4];
    reader.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"ping");
    seen
}

/// Reads the greeting alone.
pub fn greeted(socket: &Socket, reader: &mut BufReader<TcpStream>) -> Exchange {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    Exchange {
        local: inet(&socket.local_addr().unwrap()),
        peer: inet(&socket.peer_addr().unwrap()),
        server: serde_json::from_str(&line).unwrap(),
    }
}

fn inet(address: &socket2::SockAddr) -> SocketAddr {
    address.as_socket().unwrap()
}
