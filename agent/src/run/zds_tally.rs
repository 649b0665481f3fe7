//! Counts what happens on ztunnel's connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::zds::{ZdsEvent, ZdsServer};

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// A ztunnel said hello.
    pub connects: u64,
    /// Its connection ended.
    pub disconnects: u64,
    /// A connection ended before a valid hello.
    pub refusals: u64,
    /// A ztunnel serves a pod.
    pub acks: u64,
    /// A ztunnel does not serve a pod.
    pub nacks: u64,
}

/// The counts; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ZdsTally(Arc<Mutex<Tally>>);

impl ZdsTally {
    /// The counts.
    #[must_use]
    pub fn read(&self) -> Tally {
        *self.lock()
    }

    /// Counts what happens on the server's connections, in a task.
    pub(super) fn start(zds: &ZdsServer) -> (Self, JoinHandle<()>) {
        let tally = Self::default();
        let counting = tokio::spawn(tally.clone().follow(zds.events()));
        (tally, counting)
    }

    /// Follows the server's events until it ends. Events that were missed are not counted.
    pub async fn follow(self, mut events: broadcast::Receiver<ZdsEvent>) {
        loop {
            match events.recv().await {
                Ok(event) => self.note(&event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn note(&self, event: &ZdsEvent) {
        let mut tally = self.lock();
        let count = match event {
            ZdsEvent::Connected { .. } => &mut tally.connects,
            ZdsEvent::Disconnected { .. } => &mut tally.disconnects,
            ZdsEvent::Refused { .. } => &mut tally.refusals,
            ZdsEvent::PodAcked { .. } => &mut tally.acks,
            ZdsEvent::PodNacked { .. } => &mut tally.nacks,
            ZdsEvent::Live { .. } => return,
        };
        *count += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
