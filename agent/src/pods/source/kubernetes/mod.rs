//! Pods from the Kubernetes API server.
//!
//! Two watches: the pods of this node, which the server picks, and the metadata of all namespaces. Pods elsewhere in the
//! cluster cost this node nothing. As long as the server cannot be asked, what it last said stays in force.
//!
//! | asked for | role |
//! |---|---|
//! | pods with `spec.nodeName` this node's | `list`, `watch` `pods` |
//! | namespaces, as `PartialObjectMetadata` | `list`, `watch` `namespaces` |
//! | one pod and its namespace, by [`PodFinder`] | `get` `pods`, `get` `namespaces` |

mod event;
mod find;
mod follow;
mod followed;
mod merged;
mod node;
mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::select;
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::watch;

pub use find::PodFinder;
pub use node::{NodeName, NodeNameError};
pub use shape::REDIRECTION;

use super::{Outlet, PodSource};
use crate::api_server::ApiServer;
use crate::pods::pod::{PodEntry, PodUid};
use follow::{Change, Follower};
use followed::Followed;
use merged::Merged;
use shape::{WrittenNamespace, WrittenPod};

/// News on their way; whoever reads them faster than they are dealt with waits.
const UNDER_WAY: usize = 64;

/// What the annotation [`REDIRECTION`] of each pod of the node says, as the server last told.
pub type Redirections = BTreeMap<PodUid, Option<String>>;

/// The task behind a [`PodSource`] that asks the API server.
#[derive(Debug)]
pub struct KubernetesSource {
    server: ApiServer,
    node: NodeName,
    outlet: Outlet,
    redirections: watch::Sender<Redirections>,
    merged: Merged,
}

impl KubernetesSource {
    /// A source for the pods of `node`; nothing happens until [`run`](Self::run).
    #[must_use]
    pub fn new(server: ApiServer, node: NodeName) -> (Self, PodSource) {
        let (outlet, source) = Outlet::new();
        let finder = Arc::new(PodFinder::new(server.clone()));
        (
            Self {
                server,
                node,
                outlet,
                redirections: watch::Sender::default(),
                merged: Merged::default(),
            },
            PodSource {
                finder: Some(finder),
                ..source
            },
        )
    }

    /// What is written on the pods.
    #[must_use]
    pub fn redirections(&self) -> watch::Receiver<Redirections> {
        self.redirections.subscribe()
    }

    /// Follows the server until nobody listens any more.
    pub async fn run(mut self) {
        let events = self.outlet.events.clone();
        let (tell_pods, pods) = mpsc::channel(UNDER_WAY);
        let (tell_namespaces, namespaces) = mpsc::channel(UNDER_WAY);
        let of_node = Followed::PodsOf(self.node.clone());
        let pod_follower = Follower::<WrittenPod>::new(self.server.clone(), of_node, tell_pods);
        let namespace_follower =
            Follower::<WrittenNamespace>::new(self.server.clone(), Followed::Namespaces, tell_namespaces);
        select! {
            () = events.closed() => {}
            () = pod_follower.run() => {}
            () = namespace_follower.run() => {}
            () = self.merge(pods, namespaces) => {}
        }
    }

    async fn merge(
        &mut self,
        mut pods: Receiver<Change<WrittenPod>>,
        mut namespaces: Receiver<Change<WrittenNamespace>>,
    ) {
        loop {
            select! {
                Some(change) = pods.recv() => self.merged.note_pod(change),
                Some(change) = namespaces.recv() => self.merged.note_namespace(change),
                else => return,
            }
            // News that came together are published together.
            while let Ok(change) = pods.try_recv() {
                self.merged.note_pod(change);
            }
            while let Ok(change) = namespaces.try_recv() {
                self.merged.note_namespace(change);
            }
            self.publish();
        }
    }

    fn publish(&mut self) {
        let redirections = self.merged.redirections();
        self.redirections.send_if_modified(|known| {
            let is_news = *known != redirections;
            *known = redirections;
            is_news
        });
        if let Some(namespaces) = self.merged.namespaces() {
            self.outlet.tell_namespaces(namespaces);
        }
        match (self.merged.trouble(), self.merged.entries()) {
            (None, Some(entries)) => self.outlet.publish(entries),
            (Some(error), entries) => self.publish_with_trouble(error, entries),
            (None, None) => {}
        }
    }

    /// One half may be current while the other is not.
    fn publish_with_trouble(&mut self, error: Arc<super::SourceError>, entries: Option<Vec<PodEntry>>) {
        if let Some(entries) = entries {
            self.outlet.replace(entries);
        }
        self.outlet.fail_for(error);
    }
}
