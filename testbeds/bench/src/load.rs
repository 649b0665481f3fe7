//! Load in closed loops: every client waits for its answer before it asks again. The same for all variants.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::watch;
use weir_testbeds::netns::Netns;

pub mod client;
pub mod server;

use crate::cpu::CpuTime;
use client::Kind;
use server::Server;

/// Bytes of a request and of its answer.
pub const MESSAGE: usize = 64;

/// A load and how long it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub kind: Kind,
    pub clients: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

/// What a load measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// How long each operation took, in nanoseconds, sorted.
    pub latencies: Vec<u64>,
    /// Operations that failed.
    pub failures: u64,
    /// Bytes that arrived at the server's sink.
    pub bytes: u64,
    /// Time between first and last look.
    pub elapsed: Duration,
    /// CPU time that the whole machine used in it.
    pub machine: Duration,
    /// CPU time that the proxy used in it.
    pub proxy: Duration,
}

/// What the clients of a load have in common.
#[derive(Default)]
pub struct Tally {
    latencies: Mutex<Vec<u64>>,
    failures: AtomicU64,
}

impl Tally {
    fn succeeded(&self, since: Instant) {
        let took = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.lock().push(took);
    }

    fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> (Vec<u64>, u64) {
        (
            std::mem::take(&mut *self.lock()),
            self.failures.swap(0, Ordering::Relaxed),
        )
    }

    /// Clients are tasks of one thread: nobody ever waits here but for the look at the end.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Runs it from `netns`.
    pub fn run(
        &self,
        netns: &Netns,
        server: &Server,
        to: SocketAddr,
        proxy: Option<u32>,
    ) -> Result<Measured> {
        let tally = Arc::new(Tally::default());
        let (stop, stopped) = watch::channel(());
        let (kind, clients, counted) = (self.kind, self.clients, tally.clone());
        let running = netns.thread(move || client::run(kind, clients, to, &counted, stopped));
        thread::sleep(self.warm_up);
        let (before, received, start) = (CpuTime::now(proxy)?, server.received(), Instant::now());
        tally.take();
        thread::sleep(self.duration);
        let elapsed = start.elapsed();
        let (mut latencies, failures) = tally.take();
        let (after, bytes) = (CpuTime::now(proxy)?, server.received() - received);
        drop(stop);
        running.join().map_err(|_| anyhow!("a client panicked"))??;
        latencies.sort_unstable();
        Ok(Measured {
            latencies,
            failures,
            bytes,
            elapsed,
            machine: after.machine_since(&before)?,
            proxy: after.process_since(&before)?,
        })
    }
}

/// Whether somebody stands between the two ends of a connection: the server then sees another port than the client's.
pub fn passes_proxy(netns: &Netns, to: SocketAddr) -> Result<bool> {
    netns
        .run(|| client::port_seen_by_server(to))
        .with_context(|| format!("a first connection to {to}"))
}
