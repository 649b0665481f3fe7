//! What the server remembers of a pod.
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::pods::pod::PodUid;

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
