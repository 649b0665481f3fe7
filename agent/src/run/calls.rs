//! What the container runtime tells of pods, on its way to their tasks.

use tokio::sync::{mpsc, oneshot};

use super::sandboxes::Sandboxes;
use super::subjects::TendNow;
use crate::pods::pod::{PodEntry, PodUid};

/// Calls under way; whoever calls while so many are waits.
const UNDER_WAY: usize = 64;

/// What is told. Whoever tells it is answered how the pod's task is asked to look at the pod.
#[derive(Debug)]
pub(super) enum Call {
    /// The pod is about to start. The source's list may not have it yet.
    Starts(PodEntry, oneshot::Sender<TendNow>),
    /// The pod's sandbox is gone.
    Ended(PodUid, oneshot::Sender<TendNow>),
}

/// The caller's end; clones are the same.
#[derive(Clone, Debug)]
pub struct Calls {
    /// Where sandboxes are noted before a call tells of them.
    pub sandboxes: Sandboxes,
    calls: mpsc::Sender<Call>,
}

impl Calls {
    pub(super) fn new(sandboxes: Sandboxes) -> (Self, mpsc::Receiver<Call>) {
        let (calls, receiver) = mpsc::channel(UNDER_WAY);
        (Self { sandboxes, calls }, receiver)
    }

    /// A pod is about to start. Nothing if the agent is ending.
    pub async fn starts(&self, entry: PodEntry) -> Option<TendNow> {
        self.call(|answer| Call::Starts(entry, answer)).await
    }

    /// A pod's sandbox is gone. Nothing if nobody looks after the pod.
    pub async fn ended(&self, uid: PodUid) -> Option<TendNow> {
        self.call(|answer| Call::Ended(uid, answer)).await
    }

    async fn call(&self, call: impl FnOnce(oneshot::Sender<TendNow>) -> Call) -> Option<TendNow> {
        let (answer, tend_now) = oneshot::channel();
        self.calls.send(call(answer)).await.ok()?;
        tend_now.await.ok()
    }
}
