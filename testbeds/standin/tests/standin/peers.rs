//! Applications and clients of plain TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use socket2::{Domain, SockRef, Socket, Type};
use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::netns::Netns;

/// Listens in a namespace; accepting fails when nobody comes in time.
pub fn listen(netns: &Netns, at: SocketAddr) -> TcpListener {
    let listener = netns.run(|| TcpListener::bind(at)).unwrap();
    SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
    listener
}

/// Serves one connection: tells who came, then echoes until end of file.
pub fn greet_and_echo(listener: TcpListener) -> JoinHandle<SocketAddr> {
    std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, "{}", peer.ip().to_canonical()).unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
        peer
    })
}

/// Connects from a namespace, with a mark if one is given.
pub fn connect(netns: &Netns, to: SocketAddr, mark: Option<u32>) -> std::io::Result<TcpStream> {
    netns.run(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(mark) = mark {
            socket.set_mark(mark)?;
        }
        socket.connect_timeout(&to.into(), PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket.into())
    })
}

/// Reads a line without its end.
pub fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Sends bytes, closes this direction, and reads until the other one is closed too.
pub fn send_all(stream: &mut BufReader<TcpStream>, bytes: &[u8]) -> Vec<u8> {
    let mut writer = stream.get_ref().try_clone().unwrap();
    let bytes = bytes.to_vec();
    let sending = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    sending.join().unwrap();
    back
}
