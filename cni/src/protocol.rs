//! What the plugin and the agent say to each other: one connection per question, a line of JSON each way. The network
//! namespace that is asked about comes with the first byte of the question, as a descriptor.

use serde::{Deserialize, Serialize};

/// The version of what follows. An agent answers questions of its own version only; plugin and agent are installed
/// together.
pub const VERSION: u32 = 1;

/// Where the agent listens.
pub const SOCKET: &str = "/var/run/weir/cni.sock";

/// Longest line that either side reads.
pub const LONGEST: u64 = 1 << 20;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What is asked.
    pub command: Command,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A pod is about to start: capture it, if it is in the mesh. Comes with its namespace.
    Add(Attachment),
    /// A pod's sandbox is being taken down. Comes with its namespace if there still is one.
    Del(Attachment),
    /// Is a running pod as it should be? Comes with its namespace.
    Check(Attachment),
    /// These sandboxes are all that there are in a network.
    Gc {
        /// The network's name.
        network: String,
        /// Their ids.
        sandboxes: Vec<String>,
    },
}

/// A pod's sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid, where the runtime tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The runtime's id of the sandbox.
    pub sandbox: String,
    /// The interface that the runtime speaks of.
    pub interface: String,
    /// The name of the network that it is in.
    pub network: String,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The pod's connections are captured.
    Enrolled,
    /// The pod is none of the mesh's business.
    Outside {
        /// Why.
        why: String,
    },
    /// What was asked for is done.
    Done,
    /// Not now.
    Later {
        /// What is waited for.
        why: String,
    },
    /// It cannot be done.
    Refused {
        /// Why, and what to do about it.
        why: String,
    },
    /// The pod should be captured and is not.
    NotCaptured {
        /// What is wrong.
        why: String,
    },
}

impl Request {
    /// A question of this version.
    #[must_use]
    pub const fn new(command: Command) -> Self {
        Self {
            version: VERSION,
            command,
        }
    }
}

impl Answer {
    /// An answer of this version.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self {
            version: VERSION,
            outcome,
        }
    }
}

/// A message as it is sent.
///
/// # Errors
/// None that these types can cause.
pub fn line(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}
