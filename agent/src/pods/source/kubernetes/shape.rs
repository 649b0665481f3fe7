//! Objects as the server writes them: no more of them than Weir looks at, and nothing that an older server leaves out or a
//! newer one adds can make them unreadable.

use std::net::IpAddr;

use serde::Deserialize;

use crate::pods::pod::{Phase, Pod, PodName, PodNameError, PodUid, PodUidError, STATIC_UID, StringMap};

/// Annotation that says that a pod is in the mesh; Weir itself writes it.
pub const REDIRECTION: &str = "ambient.istio.io/redirection";
/// All annotations that Weir looks at, but [`STATIC_UID`], have this in their names. The others may be long, and are not kept.
const KEPT: &str = "istio.io/";

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    #[serde(default)]
    pub(super) metadata: PageMetadata,
    /// An empty list may be written as null.
    pub(super) items: Option<Vec<T>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMetadata {
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(rename = "continue")]
    pub(super) rest: Option<String>,
}

/// What all objects have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) resource_version: String,
    deletion_timestamp: Option<String>,
    labels: Option<StringMap>,
    annotations: Option<StringMap>,
}

/// An object that is followed.
pub(super) trait Object: for<'a> Deserialize<'a> {
    fn metadata(&self) -> &Metadata;
}

/// A pod.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct WrittenPod {
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    host_network: Option<bool>,
    service_account_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Clone, Debug, Deserialize)]
struct PodIp {
    #[serde(default)]
    ip: String,
}

/// A namespace, or as much of one as its metadata.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct WrittenNamespace {
    #[serde(default)]
    pub(super) metadata: Metadata,
}

impl Object for WrittenPod {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl Object for WrittenNamespace {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

impl WrittenNamespace {
    pub(super) fn into_labels(self) -> StringMap {
        self.metadata.labels.unwrap_or_default()
    }
}

/// A pod, and what Weir wrote on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownPod {
    pub(super) pod: Pod,
    pub(super) redirection: Option<String>,
}

/// What is wrong with a pod.
#[derive(Debug, thiserror::Error)]
pub(super) enum PodError {
    #[error(transparent)]
    Name(#[from] PodNameError),
    #[error(transparent)]
    Uid(#[from] PodUidError),
}

impl TryFrom<WrittenPod> for KnownPod {
    type Error = PodError;

    fn try_from(written: WrittenPod) -> Result<Self, PodError> {
        let WrittenPod {
            metadata,
            spec,
            status,
        } = written;
        let mut annotations = metadata.annotations.unwrap_or_default();
        // Not part of the pod: that we have written it is no news to us.
        let redirection = annotations.remove(REDIRECTION);
        annotations.retain(|name, _| name.contains(KEPT) || name == STATIC_UID);
        let phase = match phase(status.phase.as_deref()) {
            finished @ (Phase::Succeeded | Phase::Failed) => finished,
            _ if metadata.deletion_timestamp.is_some() => Phase::Ending,
            other => other,
        };
        let pod = Pod {
            uid: PodUid::new(metadata.uid)?,
            name: PodName::new(metadata.namespace, metadata.name)?,
            service_account: spec.service_account_name.unwrap_or_else(|| "default".to_owned()),
            labels: metadata.labels.unwrap_or_default(),
            annotations,
            host_network: spec.host_network.unwrap_or(false),
            phase,
            netns: None,
            addresses: addresses(&status),
        };
        Ok(Self { pod, redirection })
    }
}

fn phase(written: Option<&str>) -> Phase {
    match written {
        None | Some("" | "Pending") => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some(_) => Phase::Unknown,
    }
}

/// All of the pod's addresses. Servers before dual stack know `podIP` alone.
fn addresses(status: &Status) -> Vec<IpAddr> {
    let several = status.pod_ips.iter().flatten().map(|entry| entry.ip.as_str());
    let mut addresses: Vec<IpAddr> = several
        .chain(status.pod_ip.as_deref())
        .filter_map(|text| text.parse().ok())
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    addresses.retain(|address| seen.insert(*address));
    addresses
}
