//! What a pod's task waits for between two looks at its pod.

use std::future::pending;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::{Tender, node};
use crate::datapath::sys::give_back;
use crate::run::lull::Turn;
use crate::zds::ConnectionId;

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
            Box::pin(self.do_what_was_left()).await;
            Box::pin(self.look_at_wiring()).await;
            if turn.is_last() {
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
        let turn = async {
            match self.wanted_later {
                Some(since) => self.shared.lull.turn(since).await,
                None => pending().await,
            }
        };
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
