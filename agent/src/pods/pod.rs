//! A pod as Weir sees it, whatever source told of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// Where the API server's copy of a pod that kubelet has from a file keeps the uid that the node knows it by.
pub const STATIC_UID: &str = "kubernetes.io/config.hash";

/// Labels or annotations.
pub type StringMap = BTreeMap<String, String>;

/// A pod's UID: not empty, short, and safe to print and to use as one component of a path. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(Arc<str>);

impl PodUid {
    /// Longest UID that is accepted; Kubernetes' own have 36 characters.
    pub const MAX_LENGTH: usize = 128;

    /// Checks `uid`.
    pub fn new(uid: impl Into<String>) -> Result<Self, PodUidError> {
        let uid = uid.into();
        if uid.is_empty() {
            return Err(PodUidError::Empty);
        }
        if uid.len() > Self::MAX_LENGTH {
            return Err(PodUidError::TooLong { length: uid.len() });
        }
        match uid.chars().find(|c| !c.is_ascii_graphic() || *c == '/') {
            Some(character) => Err(PodUidError::Character { character }),
            None => Ok(Self(uid.into())),
        }
    }

    /// The UID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for PodUid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a pod's UID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodUidError {
    /// There is none.
    #[error("the pod UID is empty: give the value of the pod's metadata.uid")]
    Empty,
    /// It is not a UID but something long.
    #[error("the pod UID has {length} characters, more than {max}: give the value of the pod's metadata.uid", max = PodUid::MAX_LENGTH)]
    TooLong {
        /// How long it is.
        length: usize,
    },
    /// It would not be safe to print or to use in a path.
    #[error("the pod UID contains {character:?}: only visible ASCII characters other than '/' are allowed")]
    Character {
        /// The first bad one.
        character: char,
    },
}

/// A pod's namespace and name, shown as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodName {
    namespace: String,
    name: String,
}

impl PodName {
    /// Checks both parts by Kubernetes' rules for names.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Result<Self, PodNameError> {
        let (namespace, name) = (namespace.into(), name.into());
        if !is_dns_name(&namespace, 63) || namespace.contains('.') {
            return Err(PodNameError::Namespace { namespace });
        }
        if !is_dns_name(&name, 253) {
            return Err(PodNameError::Name { name });
        }
        Ok(Self { namespace, name })
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name inside the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

fn is_dns_name(text: &str, longest: usize) -> bool {
    let is_edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= longest
        && text.as_bytes().first().copied().is_some_and(is_edge)
        && text.as_bytes().last().copied().is_some_and(is_edge)
        && text.bytes().all(|c| is_edge(c) || c == b'-' || c == b'.')
}

/// What is wrong with a pod's name or namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodNameError {
    /// Kubernetes would not accept this namespace.
    #[error(
        "{namespace:?} is no namespace: use 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends"
    )]
    Namespace {
        /// What was given.
        namespace: String,
    },
    /// Kubernetes would not accept this pod name.
    #[error(
        "{name:?} is no pod name: use 1 to 253 of a-z, 0-9, '-' and '.', with a letter or digit at both ends"
    )]
    Name {
        /// What was given.
        name: String,
    },
}

/// How far a pod has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub enum Phase {
    /// Accepted, its containers do not run yet.
    Pending,
    /// At least one container runs.
    #[default]
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
    /// It was deleted; its containers may still run.
    Ending,
    /// The node did not report.
    Unknown,
}

impl Phase {
    /// Whether no container will run in it again, so that its addresses may already be another pod's.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed => true,
            Self::Pending | Self::Running | Self::Ending | Self::Unknown => false,
        }
    }
}

/// What Weir needs to know of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Identity for as long as it lives.
    pub uid: PodUid,
    /// Namespace and name.
    pub name: PodName,
    /// The service account, which is what the mesh authenticates.
    pub service_account: String,
    /// Its labels.
    pub labels: StringMap,
    /// Its annotations.
    pub annotations: StringMap,
    /// Whether it shares the node's network namespace.
    pub host_network: bool,
    /// How far it has got.
    pub phase: Phase,
    /// Path of its network namespace, where the source knows it.
    pub netns: Option<PathBuf>,
    /// Its addresses, where the source knows them.
    pub addresses: Vec<IpAddr>,
}

impl Pod {
    /// The uid by which kubelet, the runtime and cgroups know a pod that kubelet has from a file. Whoever makes a pod may
    /// claim another one's.
    #[must_use]
    pub fn static_uid(&self) -> Option<PodUid> {
        PodUid::new(self.annotations.get(STATIC_UID)?.as_str()).ok()
    }
}

/// A pod with the labels of its namespace: all that the enrolment rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEntry {
    /// The pod.
    pub pod: Pod,
    /// Labels of the pod's namespace.
    pub namespace_labels: StringMap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_short_visible_text() {
        assert_eq!(PodUid::new("8a7c-1").unwrap().to_string(), "8a7c-1");
        assert_eq!(PodUid::new(""), Err(PodUidError::Empty));
        assert!(PodUid::new("x".repeat(128)).is_ok());
        assert_eq!(
            PodUid::new("x".repeat(129)),
            Err(PodUidError::TooLong { length: 129 })
        );
        for (uid, character) in [("a b", ' '), ("a/b", '/'), ("a\n", '\n'), ("ä", 'ä')] {
            assert_eq!(PodUid::new(uid), Err(PodUidError::Character { character }));
        }
    }

    #[test]
    fn a_pod_name_reads_as_kubectl_prints_it() {
        assert_eq!(
            PodName::new("default", "web-0.a").unwrap().to_string(),
            "default/web-0.a"
        );
        for (namespace, name) in [
            ("", "a"),
            ("a.b", "a"),
            ("a", ""),
            ("a", "A"),
            ("a", "-a"),
            ("a", "a/b"),
        ] {
            assert!(PodName::new(namespace, name).is_err(), "{namespace:?} {name:?}");
        }
        assert!(PodName::new("n".repeat(64), "a").is_err());
        assert!(PodName::new("a", "n".repeat(254)).is_err());
    }
}
