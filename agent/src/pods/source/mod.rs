//! Where the node's pods come from: a source publishes the whole list each time it changes, and how well it is doing.

pub mod file;
pub mod kubernetes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::pod::{PodEntry, PodName, StringMap};
use crate::api_server::ApiError;

/// What a source last said of the node's pods. The latest counts; those in between may be skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// Nothing yet. This is not the same as no pods: nobody may be taken out of the mesh because of it.
    Pending,
    /// These are the node's pods, enrolled or not.
    Snapshot(Snapshot),
}

/// All pods of the node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Counts the different snapshots of this source, from 1.
    pub revision: u64,
    /// The pods.
    pub pods: Arc<[PodEntry]>,
}

/// How well a source is doing.
#[derive(Clone, Debug)]
pub enum SourceStatus {
    /// It has not answered yet.
    Pending,
    /// It is current.
    Ok {
        /// The snapshot that is current.
        revision: u64,
    },
    /// It is not: the last snapshot stays in force.
    Failed {
        /// What is wrong.
        error: Arc<SourceError>,
        /// The snapshot that stays, if there ever was one.
        in_force: Option<u64>,
    },
}

/// What can be wrong with a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file of pods.
    #[error(transparent)]
    File(#[from] file::FileError),
    /// The API server.
    #[error(transparent)]
    Kubernetes(#[from] ApiError),
}

/// Labels of namespaces, by name.
pub type Namespaces = BTreeMap<String, StringMap>;

/// Asks for one pod, without waiting until the list has it.
pub trait FindPod: fmt::Debug + Send + Sync {
    /// The pod of this name, if there is one.
    fn find(&self, name: PodName) -> BoxFuture<'_, Result<Option<PodEntry>, SourceError>>;
}

/// The consumer's end of a source.
#[derive(Clone, Debug)]
pub struct PodSource {
    /// The pods.
    pub events: watch::Receiver<SourceEvent>,
    /// All namespaces that the source knows, with or without pods on this node.
    pub namespaces: watch::Receiver<Arc<Namespaces>>,
    /// Where the list may lag behind, who knows better.
    pub finder: Option<Arc<dyn FindPod>>,
    /// How the source is doing.
    pub status: watch::Receiver<SourceStatus>,
}

/// The source's own end.
#[derive(Debug)]
struct Outlet {
    events: watch::Sender<SourceEvent>,
    namespaces: watch::Sender<Arc<Namespaces>>,
    status: watch::Sender<SourceStatus>,
    in_force: Option<u64>,
}

impl Outlet {
    fn new() -> (Self, PodSource) {
        let (events, events_end) = watch::channel(SourceEvent::Pending);
        let (namespaces, namespaces_end) = watch::channel(Arc::default());
        let (status, status_end) = watch::channel(SourceStatus::Pending);
        (
            Self {
                events,
                namespaces,
                status,
                in_force: None,
            },
            PodSource {
                events: events_end,
                namespaces: namespaces_end,
                finder: None,
                status: status_end,
            },
        )
    }

    /// Publishes the namespaces' labels, unless they are the same as before.
    fn tell_namespaces(&self, namespaces: &Namespaces) {
        self.namespaces.send_if_modified(|known| {
            let is_news = **known != *namespaces;
            if is_news {
                *known = Arc::new(namespaces.clone());
            }
            is_news
        });
    }

    /// Publishes `pods`, unless they are the same as before, and that they are current.
    fn publish(&mut self, pods: Vec<PodEntry>) {
        self.replace(pods);
        if let Some(revision) = self.in_force {
            self.status.send_replace(SourceStatus::Ok { revision });
        }
    }

    /// Publishes `pods`, unless they are the same as before. Whether they are current is for others to say.
    fn replace(&mut self, pods: Vec<PodEntry>) {
        let is_news = match &*self.events.borrow() {
            SourceEvent::Pending => true,
            SourceEvent::Snapshot(snapshot) => *snapshot.pods != *pods,
        };
        let revision = self.in_force.unwrap_or(0) + u64::from(is_news);
        self.in_force = Some(revision);
        if is_news {
            self.events.send_replace(SourceEvent::Snapshot(Snapshot {
                revision,
                pods: pods.into(),
            }));
        }
    }

    fn fail(&self, error: impl Into<SourceError>) {
        self.fail_for(Arc::new(error.into()));
    }

    fn fail_for(&self, error: Arc<SourceError>) {
        self.status.send_replace(SourceStatus::Failed {
            error,
            in_force: self.in_force,
        });
    }
}
