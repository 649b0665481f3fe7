//! The clients of a load: tasks of one thread.

use std::io::{self, Read as _, Write as _};
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{MESSAGE, Tally};

const BULK: usize = 256 * 1024;

/// What a client does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A connection, a request, an answer, the end of the connection.
    NewConnections,
    /// A request and an answer.
    Requests,
    /// Bytes without end.
    Bulk,
}

/// Runs clients until the sender of `stopped` is gone.
pub fn run(
    kind: Kind,
    clients: usize,
    to: SocketAddr,
    tally: &Arc<Tally>,
    mut stopped: watch::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        for _ in 0..clients {
            tokio::spawn(client(kind, to, tally.clone()));
        }
        // It fails when the sender is gone, which is what is waited for.
        stopped.changed().await.unwrap_or_default();
    });
    Ok(())
}

/// Whether the server sees another port than the client's own.
pub fn port_seen_by_server(to: SocketAddr) -> io::Result<bool> {
    let mut stream = net::TcpStream::connect(to)?;
    let mut message = [0; MESSAGE];
    stream.write_all(&message)?;
    stream.read_exact(&mut message)?;
    let seen = u16::from_be_bytes([message[0], message[1]]);
    Ok(seen != stream.local_addr()?.port())
}

async fn client(kind: Kind, to: SocketAddr, tally: Arc<Tally>) {
    loop {
        let ended = match kind {
            Kind::NewConnections => connections(to, &tally).await,
            Kind::Requests => requests(to, &tally).await,
            Kind::Bulk => bulk(to).await,
        };
        if ended.is_err() {
            tally.failed();
            tokio::task::yield_now().await;
        }
    }
}

async fn connections(to: SocketAddr, tally: &Tally) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    loop {
        let start = Instant::now();
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(&message).await?;
        stream.read_exact(&mut message).await?;
        // The server closes first, so no port of the client stays in TIME_WAIT.
        if stream.read(&mut message).await? != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        drop(stream);
        tally.succeeded(start);
    }
}

async fn requests(to: SocketAddr, tally: &Tally) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    loop {
        let start = Instant::now();
        stream.write_all(&message).await?;
        stream.read_exact(&mut message).await?;
        tally.succeeded(start);
    }
}

async fn bulk(to: SocketAddr) -> io::Result<()> {
    let data = vec![0; BULK];
    let mut stream = TcpStream::connect(to).await?;
    loop {
        stream.write_all(&data).await?;
    }
}

/// Sends so many bytes over one connection and waits until the server has closed it.
pub fn send(to: SocketAddr, bytes: u64) -> io::Result<()> {
    let data = vec![0; BULK];
    let mut stream = net::TcpStream::connect(to)?;
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(BULK).min(BULK);
        stream.write_all(&data[..length])?;
        left -= length as u64;
    }
    stream.shutdown(net::Shutdown::Write)?;
    io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}

/// Makes so many connections with a request each, one after the other.
pub fn sequence(to: SocketAddr, connections: u32) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    for _ in 0..connections {
        let mut stream = net::TcpStream::connect(to)?;
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        io::copy(&mut stream, &mut io::sink())?;
    }
    Ok(())
}
