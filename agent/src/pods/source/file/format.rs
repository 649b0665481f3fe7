//! The text of a pods file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::pods::pod::{Phase, Pod, PodEntry, PodName, PodNameError, PodUid, PodUidError, StringMap};
use crate::pods::source::Namespaces;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenFile {
    #[serde(default)]
    namespaces: BTreeMap<String, WrittenNamespace>,
    /// Optional only to be told from an empty list: YAML reads `pods:` at the end of a cut file as one.
    pods: Option<Vec<WrittenPod>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenNamespace {
    #[serde(default)]
    labels: StringMap,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenPod {
    name: String,
    namespace: String,
    uid: String,
    #[serde(default = "default_service_account")]
    service_account: String,
    netns: Option<PathBuf>,
    #[serde(default)]
    labels: StringMap,
    #[serde(default)]
    annotations: StringMap,
    #[serde(default)]
    host_network: bool,
    #[serde(default)]
    phase: Phase,
    #[serde(default)]
    addresses: Vec<IpAddr>,
}

fn default_service_account() -> String {
    "default".to_owned()
}

/// What a pods file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodsFile {
    /// The pods.
    pub pods: Vec<PodEntry>,
    /// The namespaces, those that only pods name too.
    pub namespaces: Namespaces,
}

/// Reads the text of a pods file.
pub fn parse(text: &str) -> Result<PodsFile, FormatError> {
    // Read into a generic value first, because only that refuses a key that appears twice.
    serde_yaml_ng::from_str::<serde_yaml_ng::Value>(text)?;
    let written: Option<WrittenFile> = serde_yaml_ng::from_str(text)?;
    let WrittenFile { namespaces, pods } = written.ok_or(FormatError::NoList)?;
    let pods = pods.ok_or(FormatError::NoList)?;
    let mut namespaces: Namespaces = namespaces
        .into_iter()
        .map(|(name, written)| (name, written.labels))
        .collect();
    let (mut uids, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut entries = Vec::with_capacity(pods.len());
    for (index, written) in pods.into_iter().enumerate() {
        let pod = written.checked(index)?;
        if !uids.insert(pod.uid.clone()) {
            return Err(FormatError::DuplicateUid { uid: pod.uid });
        }
        if !names.insert(pod.name.clone()) {
            return Err(FormatError::DuplicateName { name: pod.name });
        }
        let namespace = pod.name.namespace().to_owned();
        let namespace_labels = namespaces.entry(namespace).or_default().clone();
        entries.push(PodEntry {
            pod,
            namespace_labels,
        });
    }
    Ok(PodsFile {
        pods: entries,
        namespaces,
    })
}

impl WrittenPod {
    fn checked(self, index: usize) -> Result<Pod, FormatError> {
        let Self {
            name,
            namespace,
            uid,
            service_account,
            netns,
            labels,
            annotations,
            host_network,
            phase,
            addresses,
        } = self;
        let name = PodName::new(namespace, name).map_err(|source| FormatError::Name { index, source })?;
        let uid = match PodUid::new(uid) {
            Ok(uid) => uid,
            Err(source) => return Err(FormatError::Uid { name, source }),
        };
        if let Some(path) = netns.as_ref().filter(|path| !path.is_absolute()) {
            return Err(FormatError::RelativeNetns {
                name,
                path: path.clone(),
            });
        }
        Ok(Pod {
            uid,
            name,
            service_account,
            labels,
            annotations,
            host_network,
            phase,
            netns,
            addresses,
        })
    }
}

/// What is wrong with the text of a pods file.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Not YAML, or not of the shape that is wanted.
    #[error("it is half-written or not a list of pods: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// Nothing in it, or nothing after `pods:`.
    #[error("it is empty or half-written: to say that there are no pods, write `pods: []`")]
    NoList,
    /// A name that Kubernetes would not accept.
    #[error("pod number {}: {source}", index + 1)]
    Name {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong.
        source: PodNameError,
    },
    /// A UID that cannot be used.
    #[error("pod {name}: {source}")]
    Uid {
        /// The pod.
        name: PodName,
        /// What is wrong.
        source: PodUidError,
    },
    /// Relative to what?
    #[error("pod {name}: netns {path} is relative: give an absolute path such as /run/netns/name")]
    RelativeNetns {
        /// The pod.
        name: PodName,
        /// What was given.
        path: PathBuf,
    },
    /// Two pods with one UID.
    #[error("two pods have the uid {uid}: give each its own")]
    DuplicateUid {
        /// The UID.
        uid: PodUid,
    },
    /// Two pods with one name.
    #[error("pod {name} is listed twice: remove one of the two")]
    DuplicateName {
        /// The name.
        name: PodName,
    },
}
