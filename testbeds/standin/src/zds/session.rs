//! The in-pod contract: connect to the node agent, do what it asks, connect again when it goes away.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::channel::{self, Channel, Message};
use super::pods::Pods;
use super::snapshot::{ProtocolError, Snapshot, Step};
use super::wire::{HELLO, encode_ack};

const FIRST_BACKOFF: Duration = Duration::from_millis(10);
/// ztunnel waits for up to 15 s; whoever tests with the stand-in does not.
const LAST_BACKOFF: Duration = Duration::from_secs(1);
const PENDING_RETRY: Duration = Duration::from_secs(5);

/// A proxy that is told about its pods by a node agent.
pub struct Session {
    socket: PathBuf,
    pods: Pods,
    ready: bool,
}

/// Why a connection to the node agent ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("protocol error: {0}")]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Broken(#[from] channel::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.into())
    }
}

/// One connection to the node agent.
struct Connection {
    channel: Channel,
    snapshot: Snapshot,
    retry_at: Option<Instant>,
}

impl Session {
    /// Will connect to `socket`.
    pub fn new(socket: PathBuf, pods: Pods) -> Self {
        Self {
            socket,
            pods,
            ready: false,
        }
    }

    /// Serves until the node agent breaks the protocol.
    pub async fn run(mut self) -> ProtocolError {
        loop {
            let channel = connect(&self.socket).await;
            self.pods.forget_pending();
            let connection = Connection {
                channel,
                snapshot: Snapshot::default(),
                retry_at: None,
            };
            let end = self.serve(connection).await;
            self.set_ready(false);
            match end {
                Ok(()) => {}
                Err(End::Protocol(error)) => return error,
                Err(End::Broken(error)) => eprintln!("weir-standin: connection to the node agent: {error}"),
            }
        }
    }

    async fn serve(&mut self, mut connection: Connection) -> Result<(), End> {
        connection.channel.send(HELLO).await?;
        loop {
            tokio::select! {
                received = connection.channel.receive() => match received {
                    Ok(Some(message)) => self.obey(&mut connection, message).await?,
                    Ok(None) => return Ok(()),
                    Err(error) => {
                        connection.nack("failure to read message", &error).await?;
                        return Err(error.into());
                    }
                },
                () = until(connection.retry_at) => {
                    self.pods.retry_pending().await;
                    connection.retry_at = None;
                }
            }
            connection.schedule_retry(&self.pods);
            self.set_ready(connection.snapshot.is_complete() && !self.pods.any_pending());
        }
    }

    async fn obey(&mut self, connection: &mut Connection, message: Message) -> Result<(), End> {
        let netns = message.netns.map(Arc::new);
        let step = match connection.snapshot.step(message.request) {
            Ok(step) => step,
            Err(error) => {
                connection.nack("failure to process message", &error).await?;
                return Err(error.into());
            }
        };
        let result = match (step, netns) {
            (Step::Add(uid, workload), Some(netns)) => self.pods.add(&uid, workload, netns).await,
            (Step::Add(..), None) | (Step::Nothing, _) => Ok(()),
            (Step::Remove(uid), _) => {
                self.pods.remove(&uid).await;
                Ok(())
            }
            (Step::KeepOnly(announced), _) => {
                self.pods.keep_only(&announced).await;
                Ok(())
            }
        };
        match result {
            Ok(()) => connection.channel.send(&encode_ack("")).await?,
            Err(error) => connection.nack("failure to start proxy", &error).await?,
        }
        Ok(())
    }

    /// Tells whoever started the process; it is ready when it serves all that was announced.
    fn set_ready(&mut self, ready: bool) {
        if self.ready != ready {
            self.ready = ready;
            println!("{}", if ready { "ready" } else { "not ready" });
        }
    }
}

impl Connection {
    async fn nack(&self, what: &str, error: &dyn std::error::Error) -> io::Result<()> {
        self.channel.send(&encode_ack(&format!("{what} : {error}"))).await
    }

    fn schedule_retry(&mut self, pods: &Pods) {
        if pods.any_pending() {
            self.retry_at
                .get_or_insert_with(|| Instant::now() + PENDING_RETRY);
        }
    }
}

async fn connect(socket: &Path) -> Channel {
    let mut backoff = FIRST_BACKOFF;
    loop {
        match Channel::connect(socket) {
            Ok(channel) => return channel,
            Err(error) => eprintln!(
                "weir-standin: {}: {error}; again in {backoff:?}",
                socket.display()
            ),
        }
        sleep(backoff).await;
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
