//! The handle by which the rest of the agent tells ztunnel of pods.
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{error::Elapsed, timeout};

use super::accept::accept;
use super::door::Doorkeeper;
use super::ledger::{Backoff, ConnectionId, Settlement};
use super::protocol::{EncodeError, Request};
use super::results::{Acked, AddError, RemoveError, Removed};
use super::session::add_request;
use super::shared::{Pending, Shared};
use super::socket::SeqpacketListener;
use super::status::{ZdsEvent, ZdsStatus};
use super::workload::Workload;
use crate::pods::pod::PodUid;
use crate::socket_file::BindError;

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct ZdsConfig {
    /// Where ztunnel connects.
    pub socket: PathBuf,
    /// For ztunnel's hello.
    pub hello_timeout: Duration,
    /// For ztunnel's answer to one request; the connection is closed when it passes.
    pub ack_timeout: Duration,
    /// For a whole [`ZdsServer::add`], including what is sent before it.
    pub add_timeout: Duration,
    /// For a whole [`ZdsServer::remove`].
    pub remove_timeout: Duration,
    /// One new connection per this time, once the burst is used up.
    pub handshake_interval: Duration,
    /// New connections at once.
    pub handshake_burst: u32,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Wait before a refused pod is offered again; doubles with each refusal.
    pub first_retry: Duration,
    /// Longest such wait.
    pub longest_retry: Duration,
}

impl Default for ZdsConfig {
    fn default() -> Self {
        Self {
            socket: PathBuf::from("/var/run/ztunnel/ztunnel.sock"),
            hello_timeout: Duration::from_secs(5),
            ack_timeout: Duration::from_secs(5),
            add_timeout: Duration::from_secs(5),
            remove_timeout: Duration::from_secs(10),
            handshake_interval: Duration::from_millis(200),
            handshake_burst: 10,
            max_connections: 32,
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(30),
        }
    }
}

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Pods are being collected; whoever connects waits in the backlog.
    Filling,
    /// Connections are served.
    Serving,
    /// Everything is closed.
    Stopping,
}

/// The running server. Clones are the same server; it stops with the last of them, or by [`Self::shutdown`].
#[derive(Clone)]
pub struct ZdsServer {
    shared: Arc<Shared>,
    running: Arc<Running>,
    config: Arc<ZdsConfig>,
}

struct Running {
    phase: watch::Sender<Phase>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl ZdsServer {
    /// Listens on the current tokio runtime. ztunnels are served from [`Self::serve`] on: an agent that restarts has
    /// to collect its pods first, because ztunnel drops every pod that its snapshot lacks.
    pub fn start(config: ZdsConfig) -> Result<Self, BindError> {
        Self::start_with(config, ())
    }

    /// The same with somebody who notes each ztunnel before it is told of pods.
    pub fn start_with(config: ZdsConfig, keeper: impl Doorkeeper + 'static) -> Result<Self, BindError> {
        let listener = SeqpacketListener::bind(&config.socket)?;
        let backoff = Backoff {
            first: config.first_retry,
            longest: config.longest_retry,
        };
        let shared = Arc::new(Shared::new(backoff, Box::new(keeper)));
        let (phase, phases) = watch::channel(Phase::Filling);
        let accepting = tokio::spawn(accept(listener, shared.clone(), config.clone(), phases));
        let running = Running {
            phase,
            accepting: Mutex::new(Some(accepting)),
        };
        Ok(Self {
            shared,
            running: Arc::new(running),
            config: Arc::new(config),
        })
    }

    /// Serves ztunnels from now on: every pod of this node is wanted or kept.
    pub fn serve(&self) {
        self.running.phase.send_if_modified(|phase| {
            let is_filling = *phase == Phase::Filling;
            if is_filling {
                *phase = Phase::Serving;
            }
            is_filling
        });
    }

    /// Remembers the pod and tells the newest ztunnel, but does not wait for it.
    pub fn want(&self, workload: Workload) -> Result<(), EncodeError> {
        add_request(&workload).encode()?;
        drop(self.shared.add(workload));
        Ok(())
    }

    /// Remembers the pod, tells the newest ztunnel and waits until it serves it.
    pub async fn add(&self, workload: Workload) -> Result<Acked, AddError> {
        let uid = workload.uid.clone();
        add_request(&workload).encode()?;
        let Some(Pending {
            connection,
            peer,
            settlement,
        }) = self.shared.add(workload)
        else {
            return Err(AddError::NoZtunnel { uid });
        };
        let pid = peer.pid;
        match timeout(self.config.add_timeout, settlement).await {
            Ok(Ok(Settlement::Acked)) => Ok(Acked { connection, peer }),
            Ok(Ok(Settlement::Nacked(error))) => Err(AddError::Nacked { uid, pid, error }),
            Ok(Ok(Settlement::Superseded)) => Err(AddError::Removed { uid }),
            Ok(Ok(Settlement::Deadline)) | Err(Elapsed { .. }) => Err(AddError::Deadline { uid, pid }),
            Ok(Ok(Settlement::Disconnected) | Err(_)) => Err(AddError::Disconnected { uid, pid }),
        }
    }

    /// Remembers a pod whose netns is not known: a ztunnel that connects is told to go on serving it.
    pub fn keep(&self, uid: PodUid) -> Result<(), EncodeError> {
        Request::Keep(&uid).encode()?;
        self.shared.keep(uid);
        Ok(())
    }

    /// Forgets the pod and tells every ztunnel, at once; then waits until none serves it.
    pub fn remove(&self, uid: &PodUid) -> impl Future<Output = Result<Removed, RemoveError>> + use<> {
        let (removals, uid, within) = (self.shared.remove(uid), uid.clone(), self.config.remove_timeout);
        async move {
            timeout(within, collect(&uid, removals))
                .await
                .unwrap_or(Err(RemoveError::Deadline { uid }))
        }
    }

    /// Whether a ztunnel, or who may be one, is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.is_connected()
    }

    /// Everything an operator may ask.
    #[must_use]
    pub fn status(&self) -> ZdsStatus {
        self.shared.status()
    }

    /// Which connection last said from now on that it serves the pod.
    #[must_use]
    pub fn acks(&self, uid: &PodUid) -> watch::Receiver<Option<ConnectionId>> {
        self.shared.acks(uid)
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ZdsEvent> {
        self.shared.events()
    }

    /// Removes the socket file and closes every connection; ztunnel goes on serving and waits for a successor.
    pub async fn shutdown(&self) {
        self.running.phase.send_replace(Phase::Stopping);
        let accepting = self
            .running
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(accepting) = accepting
            && let Err(error) = accepting.await
        {
            tracing::error!(%error, "the ZDS server ended badly");
        }
    }
}

/// Waits for all; the first failure is the result.
async fn collect(uid: &PodUid, removals: Vec<Pending>) -> Result<Removed, RemoveError> {
    let mut removed = Removed::default();
    let mut failure = None;
    for Pending { peer, settlement, .. } in removals {
        let uid = uid.clone();
        let error = match settlement.await {
            Ok(Settlement::Acked) => {
                removed.acked += 1;
                continue;
            }
            Ok(Settlement::Disconnected) | Err(_) => {
                removed.disconnected += 1;
                continue;
            }
            Ok(Settlement::Nacked(error)) => RemoveError::Nacked {
                uid,
                pid: peer.pid,
                error,
            },
            Ok(Settlement::Deadline) => RemoveError::Deadline { uid },
            Ok(Settlement::Superseded) => RemoveError::Readded { uid },
        };
        failure.get_or_insert(error);
    }
    failure.map_or(Ok(removed), Err)
}
