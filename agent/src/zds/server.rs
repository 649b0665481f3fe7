//! The handle by which the rest of the agent tells ztunnel of pods.
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{error::Elapsed, timeout};

use super::accept::accept;
use super::door::{Door, Doorkeeper};
use super::ledger::{Backoff, ConnectionId, Settlement};
use super::protocol::{EncodeError, Request};
use super::session::add_request;
use super::shared::{Pending, Shared};
use super::socket::{BindError, Peer, SeqpacketListener};
use super::status::{ZdsEvent, ZdsStatus};
use super::workload::{PodUid, Workload};

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

/// A ztunnel that serves the pod: its listeners are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acked {
    /// On which connection.
    pub connection: ConnectionId,
    /// Which process.
    pub peer: Peer,
}

/// Why no ztunnel serves the pod yet. But for `Unsendable` and `Removed` the pod stays wanted: it is told again,
/// with back-off or to the next ztunnel that connects.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The pod cannot be told; it is not remembered.
    #[error(transparent)]
    Unsendable(#[from] EncodeError),
    /// Nobody is connected.
    #[error("pod {uid}: no ztunnel is connected; is the ztunnel pod of this node running?")]
    NoZtunnel {
        /// The pod.
        uid: PodUid,
    },
    /// ztunnel refused.
    #[error("pod {uid}: ztunnel (process {pid}) refused: {error}")]
    Nacked {
        /// The pod.
        uid: PodUid,
        /// ztunnel's process.
        pid: i32,
        /// In ztunnel's words.
        error: String,
    },
    /// ztunnel did not answer in time.
    #[error("pod {uid}: ztunnel (process {pid}) did not answer in time; see its log")]
    Deadline {
        /// The pod.
        uid: PodUid,
        /// ztunnel's process.
        pid: i32,
    },
    /// The connection ended first.
    #[error("pod {uid}: ztunnel (process {pid}) disconnected before it answered; see its log")]
    Disconnected {
        /// The pod.
        uid: PodUid,
        /// ztunnel's process.
        pid: i32,
    },
    /// The pod was removed meanwhile.
    #[error("pod {uid}: removed before ztunnel answered")]
    Removed {
        /// The pod.
        uid: PodUid,
    },
}

/// The pod is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Connected ztunnels that do not serve it any more.
    pub acked: usize,
    /// ztunnels that disconnected first; they drop it when they are back.
    pub disconnected: usize,
}

/// Why a ztunnel may still serve the pod. It is forgotten here all the same.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoveError {
    /// ztunnel refused.
    #[error("pod {uid}: ztunnel (process {pid}) did not remove it: {error}")]
    Nacked {
        /// The pod.
        uid: PodUid,
        /// ztunnel's process.
        pid: i32,
        /// In ztunnel's words.
        error: String,
    },
    /// ztunnel did not answer in time.
    #[error("pod {uid}: a ztunnel did not confirm the removal in time; see its log")]
    Deadline {
        /// The pod.
        uid: PodUid,
    },
    /// The pod was added again meanwhile.
    #[error("pod {uid}: added again before ztunnel removed it")]
    Readded {
        /// The pod.
        uid: PodUid,
    },
}

/// The running server. Clones are the same server; it stops with the last of them, or by [`Self::shutdown`].
#[derive(Clone)]
pub struct ZdsServer {
    shared: Arc<Shared>,
    running: Arc<Running>,
    config: Arc<ZdsConfig>,
}

struct Running {
    stop: watch::Sender<bool>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl ZdsServer {
    /// Listens, and serves ztunnels on the current tokio runtime: once it is told to [`Self::open`].
    pub fn start(config: ZdsConfig, keeper: impl Doorkeeper + 'static) -> Result<Self, BindError> {
        let listener = SeqpacketListener::bind(&config.socket)?;
        let backoff = Backoff {
            first: config.first_retry,
            longest: config.longest_retry,
        };
        let shared = Arc::new(Shared::new(backoff, Door::new(keeper)));
        let (stop, stopping) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, shared.clone(), config.clone(), stopping));
        let running = Running {
            stop,
            accepting: Mutex::new(Some(accepting)),
        };
        Ok(Self {
            shared,
            running: Arc::new(running),
            config: Arc::new(config),
        })
    }

    /// Begins to tell ztunnels of pods: all that are wanted are known by now, or kept.
    pub fn open(&self) {
        self.shared.door().open();
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

    /// Forgets the pod, tells every ztunnel and waits until none serves it.
    pub async fn remove(&self, uid: &PodUid) -> Result<Removed, RemoveError> {
        let removals = self.shared.remove(uid);
        timeout(self.config.remove_timeout, collect(uid, removals))
            .await
            .unwrap_or_else(|_elapsed| Err(RemoveError::Deadline { uid: uid.clone() }))
    }

    /// Everything an operator may ask.
    #[must_use]
    pub fn status(&self) -> ZdsStatus {
        self.shared.status()
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ZdsEvent> {
        self.shared.events()
    }

    /// Removes the socket file and closes every connection; ztunnel goes on serving and waits for a successor.
    pub async fn shutdown(&self) {
        self.running.stop.send_replace(true);
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
