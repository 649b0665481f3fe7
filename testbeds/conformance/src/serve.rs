//! Servers that tell their clients who they seem to be, and repeat what they are told.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use anyhow::{Context as _, Result};

use crate::canonical;
use crate::greeting::Greeting;

/// One port, by TCP and UDP.
#[derive(Debug)]
pub struct Server {
    name: String,
    pub port: u16,
    tcp: TcpListener,
    udp: UdpSocket,
}

/// Takes a port on all addresses; 0 lets the kernel choose.
pub fn bind(name: &str, port: u16) -> Result<Server> {
    let tcp = any(port, TcpListener::bind).with_context(|| format!("TCP port {port}"))?;
    let port = tcp.local_addr()?.port();
    let udp = any(port, UdpSocket::bind).with_context(|| format!("UDP port {port}"))?;
    Ok(Server {
        name: name.to_owned(),
        port,
        tcp,
        udp,
    })
}

/// `[::]` takes both families, where there is IPv6.
fn any<T>(port: u16, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    bind((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|_| bind((Ipv4Addr::UNSPECIFIED, port).into()))
}

/// Serves all ports until the end.
pub fn forever(name: &str, ports: &[u16]) -> Result<()> {
    let servers = ports
        .iter()
        .map(|port| bind(name, *port))
        .collect::<Result<Vec<_>>>()?;
    println!("serving as {name}");
    thread::scope(|scope| {
        for server in servers {
            scope.spawn(move || server.serve());
        }
    });
    Ok(())
}

impl Server {
    pub fn serve(self) {
        let Self { name, tcp, udp, .. } = self;
        thread::spawn(move || repeat_datagrams(&udp));
        for stream in tcp.incoming().flatten() {
            let name = name.clone();
            thread::spawn(move || {
                if let Err(error) = talk(&name, stream) {
                    eprintln!("{error}");
                }
            });
        }
    }
}

fn talk(name: &str, mut stream: TcpStream) -> io::Result<()> {
    let greeting = Greeting {
        server: name.to_owned(),
        peer: canonical(stream.peer_addr()?),
        local: canonical(stream.local_addr()?),
    };
    greeting.write(&mut stream)?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        stream.write_all(line.as_bytes())?;
        line.clear();
    }
    Ok(())
}

/// Answers each datagram with the address that it seems to come from.
fn repeat_datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 512];
    while let Ok((_, from)) = socket.recv_from(&mut buffer) {
        // A client that is gone needs no answer.
        socket
            .send_to(canonical(from).to_string().as_bytes(), from)
            .unwrap_or_default();
    }
}
