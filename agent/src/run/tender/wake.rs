//! What a pod's task waits for between two looks at its pod.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::{Shared, Tender, node};
use crate::datapath::sys::give_back;
use crate::zds::ConnectionId;

/// What nobody waits for is done for one pod at a time: all at once they would take the node's memory and hold up pods
/// that come.
type Turn = OwnedMutexGuard<()>;

/// Why the task looks at its pod again.
pub(super) enum Wake {
    /// The source says something new, or ztunnel does, or the pod's network changed, or it is time.
    Again,
    /// Somebody asks for it, and waits for the answer.
    Asked(oneshot::Sender<()>),
    /// The pod is not wanted any more.
    Gone,
}

impl Tender {
    /// Waits for a reason to tend the pod again.
    pub(super) async fn sleep(&mut self, pause: Option<Duration>) -> Wake {
        let again = pause.map(|pause| Instant::now() + pause);
        loop {
            let turn = match self.wait(again).await {
                ControlFlow::Break(wake) => return wake,
                ControlFlow::Continue(turn) => turn,
            };
            self.wanted_later = None;
            Box::pin(self.guard_late()).await;
            Box::pin(self.look_at_wiring()).await;
            if is_last(&turn) {
                give_back();
            }
        }
    }

    /// Goes on if it is time, and this pod's turn, for what nobody waits for.
    async fn wait(&mut self, again: Option<Instant>) -> ControlFlow<Wake, Turn> {
        let served = self.in_mesh.as_ref().and_then(|in_mesh| in_mesh.served);
        let changes = async {
            match self.in_mesh.as_mut().and_then(|in_mesh| in_mesh.changes.as_mut()) {
                Some(watch) => watch.changed().await,
                None => pending().await,
            }
        };
        let turn = turn(&self.shared, self.wanted_later);
        ControlFlow::Break(tokio::select! {
            Some(answer) = self.asked.recv() => Wake::Asked(answer),
            changed = self.wanted.changed() => if changed.is_ok() { Wake::Again } else { Wake::Gone },
            () = acked(&mut self.acks, served) => Wake::Again,
            () = changes => Wake::Again,
            () = node::changed(&mut self.node_ztunnels) => Wake::Again,
            () = at(again) => Wake::Again,
            turn = turn => return ControlFlow::Continue(turn),
        })
    }
}

/// Whether nobody else is waiting: who does has a hold of the lock too, beside the agent and this pod.
fn is_last(turn: &Turn) -> bool {
    Arc::strong_count(OwnedMutexGuard::mutex(turn)) == 2
}

/// Waits for a time to do what has been wanted since then, and for this pod's turn.
async fn turn(shared: &Shared, since: Option<Instant>) -> Turn {
    let Some(since) = since else {
        return pending().await;
    };
    loop {
        shared.lull.wait(since).await;
        let turn = shared.turns.clone().lock_owned().await;
        if shared.lull.is_now(since) {
            return turn;
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// Waits until another ztunnel than the first says that it serves the pod.
async fn acked(acks: &mut watch::Receiver<Option<ConnectionId>>, first: Option<ConnectionId>) {
    while acks.changed().await.is_ok() {
        if *acks.borrow_and_update() != first {
            return;
        }
    }
    pending::<()>().await;
}
