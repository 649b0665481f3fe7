//! Follows the source of pods: every pod has a task of its own that tends it until it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use super::tender::{Shared, Tender};
use crate::pods::pod::{PodEntry, PodUid};
use crate::pods::source::{PodSource, SourceEvent};

/// How long ztunnel may be kept waiting for pods that are slow to enrol; it takes them later too.
const FIRST_ROUND: Duration = Duration::from_secs(10);

struct Tended {
    wanted: watch::Sender<PodEntry>,
    task: JoinHandle<()>,
}

/// All pods' tasks.
pub struct Tending {
    shared: Arc<Shared>,
    pods: BTreeMap<PodUid, Tended>,
    leaving: Vec<JoinHandle<()>>,
    /// Pods that were begun and have not been tended once yet.
    first_round: Vec<oneshot::Receiver<()>>,
}

impl Tending {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            pods: BTreeMap::new(),
            leaving: Vec::new(),
            first_round: Vec::new(),
        }
    }

    /// Follows `source` until it ends.
    pub async fn follow(&mut self, mut source: PodSource) {
        loop {
            let event = source.events.borrow_and_update().clone();
            if let SourceEvent::Snapshot(snapshot) = event {
                self.apply(&snapshot.pods);
                self.shared.registry.note_begun();
                self.serve_ztunnel();
            }
            if source.events.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes all pods out and waits until that is done.
    pub async fn remove_all(&mut self) {
        self.apply(&[]);
        for task in self.leaving.drain(..) {
            // A task that panicked has been reported by the runtime; the others are still waited for.
            task.await.ok();
        }
    }

    /// ztunnel drops every pod that is missing from what it is told first, so it is served only when each pod has been
    /// tended once.
    fn serve_ztunnel(&mut self) {
        let first_round = std::mem::take(&mut self.first_round);
        let zds = self.shared.zds.clone();
        tokio::spawn(async move {
            if timeout(FIRST_ROUND, join_all(first_round)).await.is_err() {
                warn!("some pods are slow to enrol; ztunnel is served without them for now");
            }
            zds.serve();
        });
    }

    fn apply(&mut self, pods: &[PodEntry]) {
        self.leaving.retain(|task| !task.is_finished());
        let wanted: BTreeMap<&PodUid, &PodEntry> = pods.iter().map(|entry| (&entry.pod.uid, entry)).collect();
        for (_, gone) in self.pods.extract_if(.., |uid, _| !wanted.contains_key(uid)) {
            // Without a sender the task takes its pod out and ends.
            drop(gone.wanted);
            self.leaving.push(gone.task);
        }
        for (uid, entry) in wanted {
            match self.pods.get(uid) {
                Some(tended) => {
                    tended
                        .wanted
                        .send_if_modified(|known| replace_if_changed(known, entry));
                }
                None => self.begin(entry.clone()),
            }
        }
    }

    fn begin(&mut self, entry: PodEntry) {
        let uid = entry.pod.uid.clone();
        let (wanted, receiver) = watch::channel(entry);
        let (tended, first_round) = oneshot::channel();
        let task = tokio::spawn(Tender::new(self.shared.clone(), receiver, tended).run());
        self.first_round.push(first_round);
        self.pods.insert(uid, Tended { wanted, task });
    }
}

fn replace_if_changed(known: &mut PodEntry, entry: &PodEntry) -> bool {
    let changed = known != entry;
    if changed {
        known.clone_from(entry);
    }
    changed
}
