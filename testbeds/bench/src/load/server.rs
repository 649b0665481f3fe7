//! Answers requests, and swallows bulk data.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use weir_testbeds::netns::Netns;

use super::MESSAGE;

/// One answer per connection, which the server then closes.
pub const CLOSE_PORT: u16 = 8080;
/// Any number of answers.
pub const KEEP_ALIVE_PORT: u16 = 8081;
/// No answer.
pub const SINK_PORT: u16 = 8082;

const BULK: usize = 256 * 1024;

/// A thread of its own in the server's namespace; it ends when this is dropped.
pub struct Server {
    received: Arc<AtomicU64>,
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Listens on all ports when this returns.
    pub fn start(netns: &Netns, address: IpAddr) -> Result<Self> {
        let received = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = watch::channel(());
        let (report, ready) = mpsc::channel();
        let sink = received.clone();
        let thread = netns.thread(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(serve(address, &sink, report, stopped))
        });
        ready.recv().context("the server does not listen")?;
        Ok(Self {
            received,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Bytes that the sink has swallowed.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has measured what it could; how it ended changes nothing.
            thread.join().map(drop).unwrap_or_default();
        }
    }
}

async fn serve(
    address: IpAddr,
    sink: &Arc<AtomicU64>,
    report: mpsc::Sender<()>,
    mut stopped: watch::Receiver<()>,
) -> io::Result<()> {
    let close = TcpListener::bind(SocketAddr::new(address, CLOSE_PORT)).await?;
    let keep = TcpListener::bind(SocketAddr::new(address, KEEP_ALIVE_PORT)).await?;
    let bulk = TcpListener::bind(SocketAddr::new(address, SINK_PORT)).await?;
    report.send(()).map_err(io::Error::other)?;
    loop {
        tokio::select! {
            accepted = close.accept() => drop(tokio::spawn(answer_once(accepted?.0))),
            accepted = keep.accept() => drop(tokio::spawn(answer_all(accepted?.0))),
            accepted = bulk.accept() => drop(tokio::spawn(swallow(accepted?.0, sink.clone()))),
            // The sender is gone.
            _ = stopped.changed() => return Ok(()),
        }
    }
}

async fn answer_once(mut stream: TcpStream) -> io::Result<()> {
    answer(&mut stream).await
}

async fn answer_all(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        answer(&mut stream).await?;
    }
}

/// The answer is the port that the client seems to have.
async fn answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    stream.read_exact(&mut message).await?;
    message[..2].copy_from_slice(&stream.peer_addr()?.port().to_be_bytes());
    stream.write_all(&message).await
}

async fn swallow(mut stream: TcpStream, received: Arc<AtomicU64>) -> io::Result<()> {
    let mut buffer = vec![0; BULK];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            length => _ = received.fetch_add(length as u64, Ordering::Relaxed),
        }
    }
}
