//! The answer to `POST /verify` and `POST /verify/<pod>`.

use serde::{Deserialize, Serialize};

use super::status::{AgentStatus, Problem, Verified};

/// All pods, or the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// [`super::VERSION`].
    pub api_version: u32,
    /// The pods, by namespace and name.
    pub pods: Vec<VerifiedPod>,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedPod {
    /// Its UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its state, as in [`super::status::PodSummary`].
    pub state: String,
    /// Why it is in this state.
    pub why: String,
    /// What was found; nothing for pods that are not captured.
    pub verified: Option<Verified>,
}

impl VerifiedPod {
    /// Whether it is as it should be: captured and without problems, or not meant to be in the mesh.
    #[must_use]
    pub fn is_well(&self) -> bool {
        match self.state.as_str() {
            "left" => true,
            "enrolled" => self
                .verified
                .as_ref()
                .is_some_and(|verified| verified.problems.is_empty()),
            _ => false,
        }
    }
}

/// What is told while no agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedReport {
    /// [`super::VERSION`].
    pub api_version: u32,
    /// Always nothing: this is how the answer is told from [`VerifyReport`].
    pub agent: Option<AgentStatus>,
    /// The pods that the kernel side knows.
    pub pods: Vec<VerifiedEntry>,
}

/// A pod whose name only an agent knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedEntry {
    /// Its netns cookie.
    pub netns: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}
