//! The DNS listeners on a pod's loopback (15053, UDP and TCP).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::message::{Query, Reply};
use super::zone::{Decision, Zone};
use crate::record::{Direction, Outcome, Record, Recorder};
use crate::route::DNS_PORT;
use crate::sockets::{ACCEPT_PAUSE, Factory, canonical};

const MAX_DATAGRAM: usize = 4096;
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);

/// The DNS side of one pod.
pub struct Server {
    /// Makes the sockets.
    pub sockets: Factory,
    /// What to answer.
    pub zone: Arc<Zone>,
    /// The pod's UID.
    pub pod: String,
    /// Where records go.
    pub recorder: Recorder,
}

#[derive(Clone, Copy)]
enum Transport {
    Udp,
    Tcp,
}

/// Binds the listeners and serves them; the tasks end when the set is dropped.
pub async fn listen(server: Server) -> io::Result<JoinSet<()>> {
    let server = Arc::new(server);
    let mut tasks = JoinSet::new();
    for loopback in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let address = SocketAddr::new(loopback, DNS_PORT);
        let udp = match server.sockets.udp(address).await {
            // IPv6 is off.
            Err(error) if loopback.is_ipv6() && error.kind() == io::ErrorKind::AddrNotAvailable => continue,
            bound => bound?,
        };
        let tcp = server.sockets.listen_on(address, false).await?;
        tasks.spawn(Arc::clone(&server).serve_udp(udp));
        tasks.spawn(Arc::clone(&server).serve_tcp(tcp));
    }
    Ok(tasks)
}

impl Server {
    async fn serve_udp(self: Arc<Self>, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut buffer = [0; MAX_DATAGRAM];
        loop {
            // Errors are about single datagrams (a client that has gone), never about the socket.
            let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let (server, socket, query) = (Arc::clone(&self), Arc::clone(&socket), buffer[..length].to_vec());
            tokio::spawn(async move {
                if let Some(answer) = server.answer(&query, peer, Transport::Udp).await {
                    // A client that has gone away needs no answer.
                    socket.send_to(&answer, peer).await.map(drop).unwrap_or_default();
                }
            });
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let server = Arc::clone(&self);
            // The client closes when it has asked enough: an error is how that ends.
            tokio::spawn(async move { server.serve_stream(stream, peer).await.unwrap_or_default() });
        }
    }

    async fn serve_stream(&self, mut stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        loop {
            let query = read_framed(&mut stream).await?;
            if let Some(answer) = self.answer(&query, peer, Transport::Tcp).await {
                write_framed(&mut stream, &answer).await?;
            }
        }
    }

    async fn answer(&self, bytes: &[u8], peer: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
        let query = Query::decode(bytes)?;
        let mut record = Record::new(Direction::Dns);
        record.pod = Some(self.pod.clone());
        record.peer = Some(canonical(peer));
        record.question = Some(query.text());
        let answer = match self.zone.decide(&query.name) {
            Decision::Answer(reply) => {
                record.outcome = Outcome::Answered;
                query.answer(reply)
            }
            Decision::Forward(server) => {
                record.upstream = Some(server);
                self.forwarded(&query, bytes, server, transport, &mut record)
                    .await
            }
        };
        self.recorder.write(record);
        Some(answer)
    }

    async fn forwarded(
        &self,
        query: &Query,
        bytes: &[u8],
        server: SocketAddr,
        transport: Transport,
        record: &mut Record,
    ) -> Vec<u8> {
        let asked = timeout(UPSTREAM_TIMEOUT, self.ask(bytes, server, transport)).await;
        match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(answer) => {
                record.outcome = Outcome::Forwarded;
                answer
            }
            Err(error) => {
                record.error = Some(format!("{server}: {error}"));
                query.answer(Reply::ServerFailure)
            }
        }
    }

    async fn ask(&self, query: &[u8], server: SocketAddr, transport: Transport) -> io::Result<Vec<u8>> {
        match transport {
            Transport::Udp => self.ask_udp(query, server).await,
            Transport::Tcp => {
                let mut stream = self.sockets.connect(server, None).await?;
                write_framed(&mut stream, query).await?;
                read_framed(&mut stream).await
            }
        }
    }

    async fn ask_udp(&self, query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
        let any = match server {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = self.sockets.udp(SocketAddr::new(any, 0)).await?;
        socket.connect(server).await?;
        socket.send(query).await?;
        let mut answer = vec![0; MAX_DATAGRAM];
        let length = socket.recv(&mut answer).await?;
        answer.truncate(length);
        Ok(answer)
    }
}

async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    // One write, so that the length never travels alone.
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}
