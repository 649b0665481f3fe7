//! Lets pods go: capturing ends at once, what open connections need goes when they have ended.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;
use tracing::{info, warn};
use weir_netdetect::choose::Contract;

use super::backoff::Backoff;
use super::claims::{Claims, Holder, Turn};
use crate::enroll::{EnrollError, Enroller, Removal};

/// A netns as long as somebody holds it.
pub(super) type SharedNetns = Arc<OwnedFd>;

/// Why the kernel side may still hold something for a pod.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReleaseError {
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error("a step of the removal panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Released {
    /// Nothing of the pod is left.
    Completely,
    /// Captured connections go on; the task ends when they have.
    Draining(JoinHandle<()>),
}

/// Lets pods go; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Releaser {
    enroller: Enroller,
    claims: Claims,
}

impl Releaser {
    pub(super) const fn new(enroller: Enroller, claims: Claims) -> Self {
        Self { enroller, claims }
    }

    /// By which contract the pod is captured.
    pub(super) fn captured_by(&self, cookie: u64) -> Result<Option<Contract>, EnrollError> {
        self.enroller.captured_by(cookie)
    }

    /// Lets go of a pod that lives on. Whatever fails here is an orphan from now on.
    pub(super) async fn release(
        &self,
        netns: SharedNetns,
        cookie: u64,
        mut turn: Turn,
    ) -> Result<Released, ReleaseError> {
        let (enroller, handle) = (self.enroller.clone(), netns.clone());
        let released = spawn_blocking(move || enroller.release(handle.as_fd(), cookie));
        match flatten(released.await) {
            Ok(Removal::Draining { sockets }) => {
                info!(netns = cookie, sockets, "captured connections go on");
                *turn = Holder::Draining(netns.clone());
                let draining = tokio::spawn(self.clone().drain(netns, cookie));
                Ok(Released::Draining(draining))
            }
            other => {
                self.claims.give_up(cookie, turn);
                other.map(|_| Released::Completely)
            }
        }
    }

    /// Lets go of a pod that is gone: whatever connections it had have nobody to go on for.
    pub(super) async fn remove(
        &self,
        netns: Option<SharedNetns>,
        cookie: u64,
        turn: Turn,
    ) -> Result<(), ReleaseError> {
        let enroller = self.enroller.clone();
        let removed = spawn_blocking(move || {
            let netns = netns.as_ref().map(|netns| netns.as_fd());
            enroller.remove(netns, cookie)
        });
        let removed = flatten(removed.await);
        self.claims.give_up(cookie, turn);
        removed
    }

    /// The same for a pod that has been let go, and whose connections are still waited for.
    pub(super) async fn cut_short(&self, cookie: u64) -> Result<(), ReleaseError> {
        let turn = self.claims.turn(cookie).await;
        match &*turn {
            Holder::Draining(netns) => {
                let netns = netns.clone();
                self.remove(Some(netns), cookie, turn).await
            }
            Holder::Nobody => {
                self.claims.give_up(cookie, turn);
                Ok(())
            }
            Holder::Pod(_) => Ok(()),
        }
    }

    async fn drain(self, netns: SharedNetns, cookie: u64) {
        let mut backoff = Backoff::new();
        loop {
            sleep(backoff.pause()).await;
            let turn = self.claims.turn(cookie).await;
            match *turn {
                Holder::Draining(_) => {}
                Holder::Nobody => return self.claims.give_up(cookie, turn),
                // The pod has come back.
                Holder::Pod(_) => return,
            }
            let (enroller, handle) = (self.enroller.clone(), netns.clone());
            let drained = spawn_blocking(move || enroller.drain(handle.as_fd(), cookie));
            match flatten(drained.await) {
                Ok(Removal::Draining { .. }) => continue,
                Ok(Removal::Complete) => info!(netns = cookie, "captured connections have ended"),
                Err(error) => warn!(netns = cookie, %error, "captured connections cannot be counted"),
            }
            return self.claims.give_up(cookie, turn);
        }
    }
}

fn flatten<T>(done: Result<Result<T, EnrollError>, tokio::task::JoinError>) -> Result<T, ReleaseError> {
    Ok(done??)
}
