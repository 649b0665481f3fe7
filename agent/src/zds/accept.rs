//! Takes connections: a bounded number at a time, at a bounded rate.
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::serve;
use super::limiter::Limiter;
use super::server::{Phase, ZdsConfig};
use super::session::Deadlines;
use super::shared::Shared;
use super::socket::{Seqpacket, SeqpacketListener};

/// How long to leave the kernel alone when it cannot give us a connection (no descriptors left, say).
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);

/// Serves `listener` while the phase says so; when that is over, or its sender is gone, every connection is closed.
pub async fn accept(
    listener: SeqpacketListener,
    shared: Arc<Shared>,
    config: ZdsConfig,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    let (close, closing) = watch::channel(());
    if reached(&mut phase, |phase| phase != Phase::Filling).await == Some(Phase::Serving) {
        tokio::select! {
            _stopping = reached(&mut phase, |phase| phase == Phase::Stopping) => {}
            () = accept_forever(&listener, &shared, &config, &closing, &mut connections) => {}
        }
    }
    // The file goes first: a ztunnel that loses its connection shall not come back to this server.
    drop(listener);
    drop(close);
    while connections.join_next().await.is_some() {}
}

async fn accept_forever(
    listener: &SeqpacketListener,
    shared: &Arc<Shared>,
    config: &ZdsConfig,
    closing: &watch::Receiver<()>,
    connections: &mut JoinSet<()>,
) {
    let mut limiter = Limiter::new(config.handshake_interval, config.handshake_burst, Instant::now());
    let places = Arc::new(Semaphore::new(config.max_connections));
    let deadlines = Deadlines {
        hello: config.hello_timeout,
        ack: config.ack_timeout,
    };
    loop {
        // Only close() fails this, and nobody calls it.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match accept_one(listener, &mut limiter).await {
            Ok(socket) => {
                let serving = serve(shared.clone(), socket, deadlines, closed(closing.clone()));
                connections.spawn(in_place(place, serving));
            }
            Err(error) => {
                tracing::warn!(path = %listener.path().display(), %error, "cannot accept ztunnel's connection");
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn accept_one(listener: &SeqpacketListener, limiter: &mut Limiter) -> io::Result<Seqpacket> {
    loop {
        match limiter.wait(Instant::now()) {
            Duration::ZERO => break,
            wait => sleep(wait).await,
        }
    }
    let socket = listener.accept().await?;
    limiter.take(Instant::now());
    Ok(socket)
}

async fn in_place(place: OwnedSemaphorePermit, serving: impl Future<Output = ()>) {
    serving.await;
    drop(place);
}

/// The phase once it is a wanted one, nothing when every handle is gone.
async fn reached(phase: &mut watch::Receiver<Phase>, is_wanted: impl Fn(Phase) -> bool) -> Option<Phase> {
    phase
        .wait_for(|phase| is_wanted(*phase))
        .await
        .ok()
        .map(|phase| *phase)
}

/// Ends when the sender is dropped; it never sends.
async fn closed(mut closing: watch::Receiver<()>) {
    while closing.changed().await.is_ok() {}
}
