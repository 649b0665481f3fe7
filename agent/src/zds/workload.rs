//! What the server remembers of a pod.
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A pod's UID; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(Arc<str>);

impl PodUid {
    /// The UID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PodUid {
    fn from(uid: &str) -> Self {
        Self(uid.into())
    }
}

impl Serialize for PodUid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An enrolled pod, as ztunnel has to know it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The pod's UID: ztunnel's key for it.
    pub uid: PodUid,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace in Kubernetes.
    pub namespace: String,
    /// The service account the pod runs as.
    pub service_account: String,
    /// An open file of the pod's network namespace; keeps the namespace alive as long as the pod is wanted.
    pub netns: Arc<OwnedFd>,
}
