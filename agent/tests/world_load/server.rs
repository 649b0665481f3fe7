//! A server that answers thousands of connections at once.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::thread::JoinHandle;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use weir_testbeds::netns::Netns;

use crate::caller::Caller;

/// Who ends a connection, and so keeps its port for a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closer {
    Client,
    Server,
}

/// A server; dropping it closes its listener and its connections.
pub struct LoadServer {
    pub address: SocketAddr,
    tag: u32,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LoadServer {
    /// A server that answers with its tag what it is asked, and as often as it is asked.
    pub fn start(netns: &Netns, tag: u32, address: SocketAddr, closer: Closer) -> Self {
        Self::on(listener(netns, address, true).unwrap(), tag, closer)
    }

    /// As [`start`](Self::start), on a socket that listens already.
    pub fn on(listener: Socket, tag: u32, closer: Closer) -> Self {
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                tokio::select! {
                    () = accept_all(TcpListener::from_std(listener.into()).unwrap(), tag, closer) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            tag,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A caller of this server.
    pub fn caller(&self, id: u64) -> Caller {
        Caller::new(id, self.address, self.tag)
    }
}

impl Drop for LoadServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).unwrap_or_default();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

/// A listening socket in a namespace.
pub fn listener(netns: &Netns, address: SocketAddr, reuse_address: bool) -> io::Result<Socket> {
    netns.run(|| {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(reuse_address)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        Ok(socket)
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn accept_all(listener: TcpListener, tag: u32, closer: Closer) {
    let mut guests = JoinSet::new();
    loop {
        tokio::select! {
            guest = listener.accept() => match guest {
                Ok((stream, peer)) => _ = guests.spawn(answer(stream, peer, tag, closer)),
                Err(error) => eprintln!("server {tag}: accept: {error}"),
            },
            Some(_) = guests.join_next() => {}
        }
    }
}

/// The caller sees and reports what goes wrong here.
async fn answer(mut stream: TcpStream, peer: SocketAddr, tag: u32, closer: Closer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Ok(id) = stream.read_u64().await {
        let length = stream.read_u32().await? as usize;
        let mut question = vec![0; length];
        stream.read_exact(&mut question).await?;
        let right = question == pattern(id, length);
        let mut reply = Vec::with_capacity(32 + length);
        reply.extend(tag.to_be_bytes());
        reply.extend(if right { id } else { !id }.to_be_bytes());
        reply.extend(mapped(peer.ip()).octets());
        reply.extend(peer.port().to_be_bytes());
        reply.extend(pattern(!id, length));
        stream.write_all(&reply).await?;
        if closer == Closer::Server {
            break;
        }
    }
    stream.shutdown().await
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Bytes that tell whose they are.
pub fn pattern(id: u64, length: usize) -> Vec<u8> {
    let seed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    (0..length)
        .map(|at| seed[at % 8].wrapping_add((at / 8) as u8))
        .collect()
}
