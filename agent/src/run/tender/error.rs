//! Why a pod is not in the mesh yet, and whether that is its fault.

use crate::enroll::EnrollError;
use crate::pods::netns::{FindError, NetnsError};
use crate::run::registry::PodState;
use crate::zds::AddError;

/// Why a pod is not enrolled yet.
#[derive(Debug, thiserror::Error)]
pub(in crate::run) enum TendError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error(transparent)]
    Zds(AddError),
    #[error("it has not started: the runtime has not told of its sandbox, and no process of it runs")]
    NotStarted,
    #[error("the pod was deleted, and its processes have ended")]
    Ended,
    #[error("its sandbox is gone")]
    NoSandbox,
    #[error("a step of enrolment panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl TendError {
    /// Waiting is not failing: the pod goes on by itself as soon as ztunnel is there.
    pub(super) fn state(&self) -> PodState {
        match self {
            Self::Zds(AddError::NoZtunnel { .. }) => {
                PodState::Pending("waits for a ztunnel to connect".to_owned())
            }
            Self::Ended => PodState::Pending("was deleted, and its processes have ended".to_owned()),
            Self::Enroll(EnrollError::NoZtunnel) => {
                PodState::Pending("waits for a ztunnel to listen in its own network namespace".to_owned())
            }
            Self::NotStarted | Self::NoSandbox => PodState::Pending("waits for its sandbox".to_owned()),
            other => PodState::Failed(other.to_string()),
        }
    }
}
