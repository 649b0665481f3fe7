//! A source that follows the server, and what it says.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weir_agent::api_server::{ApiServer, Patience};
use weir_agent::pods::pod::PodEntry;
use weir_agent::pods::source::kubernetes::{KubernetesSource, Redirections};
use weir_agent::pods::source::{PodSource, SourceEvent, SourceStatus};

use crate::fake::{Fake, Kind, PATIENCE};

const DEADLINE: Duration = Duration::from_secs(20);
pub const NODE: &str = "node-1";

pub struct Scene {
    pub fake: Fake,
    pub source: PodSource,
    pub redirections: tokio::sync::watch::Receiver<Redirections>,
    pub task: JoinHandle<()>,
}

impl Scene {
    /// A source that begins when the server is as `prepare` makes it.
    pub fn with(prepare: impl FnOnce(&Fake)) -> Self {
        Self::with_patience(PATIENCE, prepare)
    }

    pub fn with_patience(patience: Patience, prepare: impl FnOnce(&Fake)) -> Self {
        let fake = Fake::start();
        prepare(&fake);
        let server = fake.client_with(patience);
        Self::of(fake, server)
    }

    /// A source that asks the fake server by way of this one.
    pub fn of(fake: Fake, server: ApiServer) -> Self {
        let (kubernetes, source) = KubernetesSource::new(server, NODE.parse().unwrap());
        Self {
            redirections: kubernetes.redirections(),
            task: tokio::spawn(kubernetes.run()),
            source,
            fake,
        }
    }

    /// Waits until exactly these pods are known, by name.
    pub async fn expect(&mut self, wanted: &[&str]) {
        let known = self
            .source
            .events
            .wait_for(|event| names(event) == Some(wanted.to_vec()));
        let seen = timeout(DEADLINE, known).await.is_ok_and(|seen| seen.is_ok());
        assert!(
            seen,
            "{wanted:?} are not known, but {:?}; {:?}",
            self.source.events.borrow(),
            self.source.status.borrow()
        );
    }

    /// Waits until a pod is as `is_wanted` wants it.
    pub async fn expect_pod(&mut self, name: &str, is_wanted: impl Fn(&PodEntry) -> bool) {
        let known = self.source.events.wait_for(|event| match event {
            SourceEvent::Pending => false,
            SourceEvent::Snapshot(snapshot) => snapshot
                .pods
                .iter()
                .any(|entry| entry.pod.name.name() == name && is_wanted(entry)),
        });
        let seen = timeout(DEADLINE, known).await.is_ok_and(|seen| seen.is_ok());
        assert!(seen, "{name} is different: {:?}", self.source.events.borrow());
    }

    /// Waits until the source says that it is not current, with these words.
    pub async fn expect_trouble(&mut self, words: &[&str]) -> Option<u64> {
        let said = |status: &SourceStatus| match status {
            SourceStatus::Failed { error, .. } => {
                let text = error.to_string();
                words.iter().all(|word| text.contains(word))
            }
            SourceStatus::Pending | SourceStatus::Ok { .. } => false,
        };
        let seen = timeout(DEADLINE, self.source.status.wait_for(said)).await;
        let seen = seen.map(|seen| seen.map(|status| status.clone()));
        match seen {
            Ok(Ok(SourceStatus::Failed { in_force, .. })) => in_force,
            _ => panic!("no such trouble, but {:?}", self.source.status.borrow()),
        }
    }

    pub async fn expect_current(&mut self) {
        let current = |status: &SourceStatus| matches!(status, SourceStatus::Ok { .. });
        let seen = timeout(DEADLINE, self.source.status.wait_for(current)).await;
        let seen = seen.is_ok_and(|seen| seen.is_ok());
        assert!(seen, "not current: {:?}", self.source.status.borrow());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn names(event: &SourceEvent) -> Option<Vec<&str>> {
    match event {
        SourceEvent::Pending => None,
        SourceEvent::Snapshot(snapshot) => {
            let pods: &Arc<[PodEntry]> = &snapshot.pods;
            let mut names: Vec<&str> = pods.iter().map(|entry| entry.pod.name.name()).collect();
            names.sort_unstable();
            Some(names)
        }
    }
}

pub fn pod(name: &str, node: &str) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": {"app": name}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]},
    })
}

pub fn namespace(name: &str, mode: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"istio.io/dataplane-mode": mode}}})
}

/// A namespace with pods on this node.
pub fn shop(fake: &Fake, pods: &[&str]) {
    fake.put(Kind::Namespace, namespace("shop", "ambient"));
    for name in pods {
        fake.put(Kind::Pod, pod(name, NODE));
    }
}
