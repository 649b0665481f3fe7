//! One connection's task: hello, snapshot, then what comes, until it ends.
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::ledger::{ConnectionId, LiveStep, SnapshotStep};
use super::session::{AfterMarker, BeforeMarker, Deadlines, Session, SessionError};
use super::shared::Shared;
use super::socket::Seqpacket;

/// Serves one connection until it ends or `stop` does.
pub async fn serve(
    shared: Arc<Shared>,
    socket: Seqpacket,
    deadlines: Deadlines,
    stop: impl Future<Output = ()>,
) {
    let peer = socket.peer();
    let id = shared.open(peer);
    let ended = tokio::select! {
        ended = converse(&shared, id, socket, deadlines) => ended,
        () = stop => Err(SessionError::Stopping),
    };
    let Err(error) = ended;
    tracing::info!(pid = peer.pid, %error, "ztunnel's connection ended");
    shared.close(id, &error);
}

async fn converse(
    shared: &Shared,
    id: ConnectionId,
    socket: Seqpacket,
    deadlines: Deadlines,
) -> Result<Infallible, SessionError> {
    let peer = socket.peer();
    let session = Session::greet(socket, deadlines).await?;
    tracing::info!(pid = peer.pid, "ztunnel connected");
    shared.door().opened().await;
    shared.greeted(id, peer);
    let session = send_snapshot(shared, id, session).await?;
    shared.live(id);
    follow(shared, id, session).await
}

async fn send_snapshot(
    shared: &Shared,
    id: ConnectionId,
    mut session: Session<BeforeMarker>,
) -> Result<Session<AfterMarker>, SessionError> {
    loop {
        let answer = match shared.next_in_snapshot(id) {
            SnapshotStep::Add(workload) => session.add(&workload).await?,
            SnapshotStep::Keep(uid) => session.keep(&uid).await?,
            SnapshotStep::Done => return session.finish_snapshot().await,
        };
        shared.answered(id, answer);
    }
}

async fn follow(
    shared: &Shared,
    id: ConnectionId,
    mut session: Session<AfterMarker>,
) -> Result<Infallible, SessionError> {
    let mut changes = shared.changes();
    loop {
        // Marked as seen before looking, so that no change falls in between.
        changes.borrow_and_update();
        let answer = match shared.next_live(id) {
            LiveStep::Add(workload) => session.add(&workload).await?,
            LiveStep::Del(uid) => session.del(&uid).await?,
            LiveStep::Idle(until) => {
                idle(&session, &mut changes, until).await?;
                continue;
            }
        };
        shared.answered(id, answer);
    }
}

/// Waits for something to do; the end of the connection is noticed at once.
async fn idle(
    session: &Session<AfterMarker>,
    changes: &mut watch::Receiver<()>,
    until: Option<Instant>,
) -> Result<(), SessionError> {
    tokio::select! {
        error = session.ended() => Err(error),
        // It cannot be closed: the sender is in what `shared` borrows.
        _open = changes.changed() => Ok(()),
        () = reached(until) => Ok(()),
    }
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => pending().await,
    }
}
