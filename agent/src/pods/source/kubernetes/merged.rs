//! Pods and namespaces put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use super::follow::Change;
use super::shape::{KnownPod, WrittenNamespace, WrittenPod};
use crate::pods::pod::{PodEntry, PodUid, StringMap};
use crate::pods::source::{Namespaces, SourceError};

/// What is known of the node's pods. Nothing is, until both lists are there.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pods: Half<PodUid, KnownPod>,
    namespaces: Half<String, StringMap>,
}

#[derive(Debug)]
struct Half<K, V> {
    known: Option<BTreeMap<K, V>>,
    trouble: Option<Arc<SourceError>>,
}

impl<K, V> Default for Half<K, V> {
    fn default() -> Self {
        Self {
            known: None,
            trouble: None,
        }
    }
}

impl<K: Ord, V> Half<K, V> {
    fn list(&mut self, all: BTreeMap<K, V>) {
        self.known = Some(all);
        self.trouble = None;
    }

    fn put(&mut self, key: K, value: V) {
        // A list always comes first.
        if let Some(known) = &mut self.known {
            known.insert(key, value);
        }
    }
}

impl Merged {
    pub(super) fn note_pod(&mut self, change: Change<WrittenPod>) {
        match change {
            Change::Listed(pods) => self.pods.list(pods.into_iter().filter_map(known).collect()),
            Change::Put(pod) => {
                if let Some((uid, pod)) = known(pod) {
                    self.pods.put(uid, pod);
                }
            }
            Change::Gone(pod) => {
                if let (Some((uid, _)), Some(pods)) = (known(pod), &mut self.pods.known) {
                    pods.remove(&uid);
                }
            }
            Change::Stale(error) => self.pods.trouble = Some(Arc::new(error.into())),
            Change::Current => self.pods.trouble = None,
        }
    }

    pub(super) fn note_namespace(&mut self, change: Change<WrittenNamespace>) {
        match change {
            Change::Listed(namespaces) => {
                let mut listed: BTreeMap<String, StringMap> = namespaces.into_iter().map(named).collect();
                for (name, labels) in self.namespaces.known.take().unwrap_or_default() {
                    if self.is_inhabited(&name) {
                        listed.entry(name).or_insert(labels);
                    }
                }
                self.namespaces.list(listed);
            }
            Change::Put(namespace) => {
                let (name, labels) = named(namespace);
                self.namespaces.put(name, labels);
            }
            Change::Gone(namespace) => {
                let (name, _) = named(namespace);
                if !self.is_inhabited(&name)
                    && let Some(namespaces) = &mut self.namespaces.known
                {
                    namespaces.remove(&name);
                }
            }
            Change::Stale(error) => self.namespaces.trouble = Some(Arc::new(error.into())),
            Change::Current => self.namespaces.trouble = None,
        }
    }

    /// A namespace goes after its last pod. If it seems otherwise, the two halves are of different times, and a pod must
    /// not fall out of the mesh for it.
    fn is_inhabited(&self, namespace: &str) -> bool {
        let pods = self.pods.known.iter().flat_map(BTreeMap::values);
        pods.into_iter()
            .any(|known| known.pod.name.namespace() == namespace)
    }

    /// All pods, as soon as both halves are known. A pod whose namespace is not known yet is held back: without its
    /// labels nobody can say whether it is to be in the mesh.
    pub(super) fn entries(&self) -> Option<Vec<PodEntry>> {
        let (pods, namespaces) = (self.pods.known.as_ref()?, self.namespaces.known.as_ref()?);
        let entries = pods.values().filter_map(|known| {
            Some(PodEntry {
                namespace_labels: namespaces.get(known.pod.name.namespace())?.clone(),
                pod: known.pod.clone(),
            })
        });
        Some(entries.collect())
    }

    /// All namespaces, as soon as they are known.
    pub(super) const fn namespaces(&self) -> Option<&Namespaces> {
        self.namespaces.known.as_ref()
    }

    /// Which pods say that they are in the mesh, and how.
    pub(super) fn redirections(&self) -> BTreeMap<PodUid, Option<String>> {
        let pods = self.pods.known.iter().flatten();
        pods.map(|(uid, known)| (uid.clone(), known.redirection.clone()))
            .collect()
    }

    /// What keeps either half from being current.
    pub(super) fn trouble(&self) -> Option<Arc<SourceError>> {
        self.pods
            .trouble
            .clone()
            .or_else(|| self.namespaces.trouble.clone())
    }
}

fn known(written: WrittenPod) -> Option<(PodUid, KnownPod)> {
    let name = format!("{}/{}", written.metadata.namespace, written.metadata.name);
    match KnownPod::try_from(written) {
        Ok(known) => Some((known.pod.uid.clone(), known)),
        // One pod that is odd is no reason to lose the others.
        Err(error) => {
            warn!(pod = name, %error, "this pod cannot be looked after");
            None
        }
    }
}

fn named(written: WrittenNamespace) -> (String, StringMap) {
    (written.metadata.name.clone(), written.into_labels())
}
