//! The file from which the agent learns of pods.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

use super::{Error, at};
use crate::netns::Netns;
use crate::proxy::Member;
use crate::world::Pod;

/// The namespace of pods that belong to no world.
const BARE: &str = "bare";
/// The namespace of ztunnel.
const SYSTEM: &str = "istio-system";
const MODE: &str = "istio.io/dataplane-mode";
const NAME: &str = "pods.yaml";

/// Flags by which an agent learns of pods from the file in this directory.
pub(super) fn flags(directory: &Path) -> Vec<String> {
    let path = directory.join(NAME).display().to_string();
    vec!["--pods-file".to_owned(), path]
}

/// One pod in the file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodLine {
    /// The pod's name.
    pub name: String,
    namespace: &'static str,
    /// Its uid.
    pub uid: String,
    service_account: String,
    /// The path of its network namespace; empty if nobody but the container runtime tells it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub netns: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<IpAddr>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct File<'a> {
    pods: &'a [PodLine],
}

impl PodLine {
    pub(super) fn new(pod: &Pod) -> Self {
        Self {
            name: pod.name.clone(),
            namespace: "default",
            uid: pod.uid.clone(),
            // As the proxy knows it.
            service_account: Member::of(pod).service_account,
            netns: pod.netns.path().display().to_string(),
            phase: None,
            addresses: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// A pod that is nothing but a namespace, for where the number of pods is what matters.
    #[must_use]
    pub fn in_netns(name: &str, uid: &str, netns: &Netns) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default",
            uid: uid.to_owned(),
            service_account: "default".to_owned(),
            netns: netns.path().display().to_string(),
            phase: None,
            addresses: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// A pod that has not started; the container runtime will tell of its namespace.
    #[must_use]
    pub fn awaited(name: &str, uid: &str) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default",
            uid: uid.to_owned(),
            service_account: "default".to_owned(),
            netns: String::new(),
            phase: Some("Pending"),
            addresses: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Puts it into another namespace than `default`.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &'static str) -> Self {
        self.namespace = namespace;
        self
    }

    /// A pod of no world, in the mesh.
    pub(super) fn bare(name: &str, netns: &Netns) -> Self {
        let mut line = Self {
            namespace: BARE,
            ..Self::in_netns(name, name, netns)
        };
        line.enrol();
        line
    }

    pub(super) fn is_bare(&self) -> bool {
        self.namespace == BARE
    }

    /// Says that the pod runs, and where: what its namespace is known by if only its processes lead to it.
    pub fn run_at(&mut self, address: IpAddr) {
        self.phase = None;
        self.addresses = vec![address];
    }

    /// Puts the pod into the mesh.
    pub fn enrol(&mut self) {
        self.labels.insert(MODE.to_owned(), "ambient".to_owned());
    }

    /// Makes it a ztunnel's.
    pub(super) fn be_ztunnel(&mut self) {
        self.namespace = SYSTEM;
        self.labels.insert("app".to_owned(), "ztunnel".to_owned());
    }

    /// Takes it out.
    pub fn leave(&mut self) {
        self.labels.remove(MODE);
    }

    /// Adds an annotation.
    pub fn annotate(&mut self, key: &str, value: &str) {
        self.annotations.insert(key.to_owned(), value.to_owned());
    }

    /// Takes an annotation away.
    pub fn forget(&mut self, key: &str) {
        self.annotations.remove(key);
    }

    /// The state that the agent must bring it to.
    pub(super) fn expected_state(&self) -> &'static str {
        if self.labels.contains_key(MODE) {
            "enrolled"
        } else {
            "left"
        }
    }
}

/// Replaces the file as a whole, as operators do; JSON is YAML too.
pub(super) fn write(directory: &Path, pods: &[PodLine]) -> Result<(), Error> {
    let (draft, path) = (directory.join("pods.new"), directory.join(NAME));
    let text = serde_json::to_vec(&File { pods }).map_err(|error| at(&path)(error.into()))?;
    fs::write(&draft, text)
        .and_then(|()| fs::rename(&draft, &path))
        .map_err(at(&path))
}
