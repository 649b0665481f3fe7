//! The lines that answer `GET /trace`.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum TraceLine {
    /// The first line: from now on every decision is told.
    Listening {
        /// [`super::VERSION`].
        api_version: u32,
    },
    /// The kernel side decided about a connection.
    Decision(Decision),
    /// Whoever listens, or the agent itself, was too slow for some decisions.
    Lost {
        /// How many.
        count: u64,
    },
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub time: Timestamp,
    /// The pod as `namespace/name`, if the agent knows it.
    pub pod: Option<String>,
    /// The pod's netns cookie.
    pub netns: u64,
    /// The process that asked; nothing where a packet did.
    pub process: Option<u32>,
    /// Its name, if it still ran.
    pub command: Option<String>,
    /// What happened.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// Where the connection comes from, as far as the kernel has chosen that.
    pub source: Option<IpAddr>,
    /// The port, as far as the kernel has chosen it.
    pub source_port: Option<u16>,
    /// Where it goes, as it was asked for.
    pub destination: IpAddr,
    /// The port.
    pub destination_port: u16,
    /// The address and port that the connection got instead, if it got others.
    #[serde(default)]
    pub turned_to: Option<SocketAddr>,
}
