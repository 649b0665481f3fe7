//! Takes connections: a bounded number at a time, at a bounded rate.
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::serve;
use super::limiter::Limiter;
use super::server::ZdsConfig;
use super::session::Deadlines;
use super::shared::Shared;
use super::socket::{Seqpacket, SeqpacketListener};

/// How long to leave the kernel alone when it cannot give us a connection (no descriptors left, say).
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);

/// Serves `listener` until `stop` turns true or its sender is gone; then every connection is closed.
pub async fn accept(
    listener: SeqpacketListener,
    shared: Arc<Shared>,
    config: ZdsConfig,
    stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    tokio::select! {
        () = stopped(stop.clone()) => {}
        () = accept_forever(&listener, &shared, &config, &stop, &mut connections) => {}
    }
    // The file goes first: a ztunnel that loses its connection shall not come back to this server.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept_forever(
    listener: &SeqpacketListener,
    shared: &Arc<Shared>,
    config: &ZdsConfig,
    stop: &watch::Receiver<bool>,
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
                let serving = serve(shared.clone(), socket, deadlines, stopped(stop.clone()));
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

/// Ends when the server shall.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that every handle is gone, which is the same.
    drop(stop.wait_for(|stop| *stop).await);
}
