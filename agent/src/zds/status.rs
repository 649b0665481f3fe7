//! What an operator sees of ZDS, and what the agent's metrics listen to.
use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::ledger::{ConnectionId, Stage};
use super::socket::Peer;
use crate::pods::pod::PodUid;

/// Something that happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZdsEvent {
    /// A ztunnel said hello; its process tells its cgroup.
    Connected {
        /// Which connection.
        connection: ConnectionId,
        /// Who.
        peer: Peer,
    },
    /// It acknowledged the snapshot.
    Live {
        /// Which connection.
        connection: ConnectionId,
    },
    /// The connection of a ztunnel is over.
    Disconnected {
        /// Which connection.
        connection: ConnectionId,
        /// Why.
        error: String,
    },
    /// A connection ended before a valid hello.
    Refused {
        /// Who.
        peer: Peer,
        /// Why.
        error: String,
    },
    /// A ztunnel serves the pod.
    PodAcked {
        /// Which connection.
        connection: ConnectionId,
        /// Which pod.
        uid: PodUid,
    },
    /// A ztunnel does not serve the pod; it will be asked again.
    PodNacked {
        /// Which connection.
        connection: ConnectionId,
        /// Which pod.
        uid: PodUid,
        /// Why.
        error: String,
    },
}

/// The server at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ZdsStatus {
    /// Every open connection, the oldest first.
    pub connections: Vec<ConnectionStatus>,
    /// Every wanted pod.
    pub pods: BTreeMap<PodUid, PodStatus>,
    /// Why the connection that ended last did.
    pub last_disconnect: Option<String>,
}

/// One connection at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionStatus {
    /// Which one.
    pub id: ConnectionId,
    /// Who is at the other end.
    pub peer: Peer,
    /// When it connected.
    pub since: SystemTime,
    /// How far it is.
    pub state: ConnectionState,
    /// Whether new pods are told to this one.
    pub newest: bool,
    /// How many pods it acknowledged.
    pub acked: usize,
    /// How many pods are still to be told or answered.
    pub pending: usize,
    /// The last refusal.
    pub last_error: Option<String>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// No hello yet.
    Handshake,
    /// The snapshot is being sent.
    Snapshot,
    /// The snapshot is acknowledged.
    Live,
}

impl From<Stage> for ConnectionState {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Handshake => Self::Handshake,
            Stage::Snapshot => Self::Snapshot,
            Stage::Live => Self::Live,
        }
    }
}

/// One wanted pod at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PodStatus {
    /// Whether its network namespace is known.
    pub netns_known: bool,
    /// Whether the newest ztunnel serves it.
    pub acked: bool,
    /// Why the newest ztunnel does not.
    pub nack: Option<String>,
}
