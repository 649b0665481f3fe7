//! What adding and removing a pod came to.
use super::ledger::ConnectionId;
use super::protocol::EncodeError;
use super::socket::Peer;
use crate::pods::pod::PodUid;

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
