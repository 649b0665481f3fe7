//! Follows the source of pods: every pod has a task of its own that tends it until it is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::tender::{Shared, Tender, Trying};
use crate::pods::pod::{PodEntry, PodUid};
use crate::pods::source::{PodSource, SourceEvent};

struct Tended {
    wanted: watch::Sender<PodEntry>,
    task: JoinHandle<()>,
}

/// All pods' tasks.
pub struct Tending {
    shared: Arc<Shared>,
    pods: BTreeMap<PodUid, Tended>,
    leaving: Vec<JoinHandle<()>>,
    trying: Option<Sender<Trying>>,
}

impl Tending {
    /// Nobody is tended yet. The receiver ends when each pod of the first list has been tried once.
    pub(super) fn new(shared: Arc<Shared>) -> (Self, Receiver<Trying>) {
        let (trying, tried) = channel(1);
        let tending = Self {
            shared,
            pods: BTreeMap::new(),
            leaving: Vec::new(),
            trying: Some(trying),
        };
        (tending, tried)
    }

    /// Follows `source` until it ends.
    pub async fn follow(&mut self, mut source: PodSource) {
        loop {
            let event = source.events.borrow_and_update().clone();
            if let SourceEvent::Snapshot(snapshot) = event {
                self.apply(&snapshot.pods);
                self.shared.registry.note_begun();
                self.trying = None;
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
                    _ = tended
                        .wanted
                        .send_if_modified(|known| replace_if_changed(known, entry));
                }
                None => _ = self.pods.insert(uid.clone(), self.begin(entry.clone())),
            }
        }
    }

    fn begin(&self, entry: PodEntry) -> Tended {
        let (wanted, receiver) = watch::channel(entry);
        let task = tokio::spawn(Tender::new(self.shared.clone(), receiver, self.trying.clone()).run());
        Tended { wanted, task }
    }
}

fn replace_if_changed(known: &mut PodEntry, entry: &PodEntry) -> bool {
    let changed = known != entry;
    if changed {
        known.clone_from(entry);
    }
    changed
}
