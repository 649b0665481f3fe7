//! Clients that go on while something is done to what they rely on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::client::{Client, ClientSpec, Exchange};
use super::failure::Failure;
use crate::deadline::{Expired, eventually};
use crate::netns::Netns;

/// Clients that connect again and again until they are stopped.
#[derive(Debug)]
pub struct Load {
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    results: Receiver<Result<Exchange, Failure>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins; each client connects from a namespace.
    pub fn start(clients: impl IntoIterator<Item = (Netns, ClientSpec)>) -> Self {
        let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (report, results) = channel();
        let start = |(netns, spec): (Netns, ClientSpec)| {
            let (done, stop, report) = (done.clone(), stop.clone(), report.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let result = Client::exchange(&netns, &spec);
                    // Whoever has dropped the load wants to hear of none.
                    if report.send(result).is_err() {
                        break;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        Self {
            clients: clients.into_iter().map(start).collect(),
            done,
            stop,
            results,
        }
    }

    /// Waits until this many more exchanges are done, however they ended.
    ///
    /// # Errors
    /// [`Expired`].
    pub fn go_on(&self, more: u64, deadline: Duration) -> Result<(), Expired> {
        let goal = self.done.load(Ordering::Relaxed) + more;
        eventually(deadline, || {
            (self.done.load(Ordering::Relaxed) >= goal).then_some(())
        })
    }

    /// What has come since this was asked the last time.
    pub fn results(&self) -> Vec<Result<Exchange, Failure>> {
        self.results.try_iter().collect()
    }

    /// Ends, and hands over what has come since [`results`](Self::results) was asked the last time.
    pub fn finish(mut self) -> Vec<Result<Exchange, Failure>> {
        self.end();
        self.results()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            // One that panicked has said so.
            client.join().unwrap_or_default();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}
