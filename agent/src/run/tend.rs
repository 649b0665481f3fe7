//! Follows the source of pods and the container runtime: every pod has a task of its own that tends it until it is
//! gone.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::OptionFuture;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::calls::Call;
use super::registry::{PodState, Registry};
use super::subjects::TendNow;
use super::tender::{Shared, Tender, Trying};
use crate::pods::pod::{PodEntry, PodUid};
use crate::pods::source::{PodSource, SourceEvent};

/// How long a pod that the runtime told of may be missing in the source's list.
const ANNOUNCED: Duration = Duration::from_secs(60);

struct Tended {
    wanted: watch::Sender<PodEntry>,
    tend_now: TendNow,
    /// Since when the runtime has told of it, until the source does.
    announced: Option<Instant>,
    /// Ends when nothing of the pod is in the kernel any more.
    let_go: oneshot::Receiver<()>,
    task: JoinHandle<()>,
}

/// A pod's task that has been told that its pod is gone.
struct Leaving {
    uid: PodUid,
    let_go: oneshot::Receiver<()>,
    task: JoinHandle<()>,
}

impl Tended {
    fn is_announced(&self) -> bool {
        self.announced.is_some_and(|since| since.elapsed() < ANNOUNCED)
    }
}

/// All pods' tasks.
pub struct Tending {
    shared: Arc<Shared>,
    pods: BTreeMap<PodUid, Tended>,
    leaving: Vec<Leaving>,
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

    /// Follows `source` until it ends, and answers calls meanwhile.
    pub(super) async fn follow(&mut self, mut source: PodSource, mut calls: Receiver<Call>) {
        self.look(&mut source);
        loop {
            tokio::select! {
                changed = source.events.changed() => match changed {
                    Ok(()) => self.look(&mut source),
                    Err(_) => return,
                },
                Some(call) = calls.recv() => self.answer(call),
            }
        }
    }

    fn look(&mut self, source: &mut PodSource) {
        let event = source.events.borrow_and_update().clone();
        if let SourceEvent::Snapshot(snapshot) = event {
            self.apply(&snapshot.pods);
            self.shared.registry.note_begun();
            self.trying = None;
        }
    }

    fn answer(&mut self, call: Call) {
        let (uid, answer) = match call {
            Call::Starts(entry, answer) => {
                let uid = entry.pod.uid.clone();
                if !self.pods.contains_key(&uid) {
                    let announced = Some(Instant::now());
                    let tended = self.begin(entry, None);
                    self.pods.insert(uid.clone(), Tended { announced, ..tended });
                }
                (uid, answer)
            }
            Call::Ended(uid, answer) => (uid, answer),
        };
        if let Some(tended) = self.pods.get(&uid) {
            // Whoever called may have given up.
            answer.send(tended.tend_now.clone()).ok();
        }
    }

    /// Takes all pods out and waits until that is done.
    pub async fn remove_all(&mut self) {
        for tended in self.pods.values_mut() {
            tended.announced = None;
        }
        self.apply(&[]);
        for leaving in self.leaving.drain(..) {
            // A task that panicked has been reported by the runtime; the others are still waited for.
            leaving.task.await.ok();
        }
    }

    /// Ends all tasks and leaves their pods as they are. To a task whose sender goes first, its pod is gone.
    pub async fn stop(&mut self) {
        let leaving = self.leaving.iter_mut().map(|leaving| &mut leaving.task);
        let tended = self.pods.values_mut().map(|tended| &mut tended.task);
        let tasks: Vec<_> = tended.chain(leaving).collect();
        tasks.iter().for_each(|task| task.abort());
        for task in tasks {
            // That it was ended is no news.
            task.await.ok();
        }
    }

    fn apply(&mut self, pods: &[PodEntry]) {
        self.leaving.retain(|leaving| !leaving.task.is_finished());
        let wanted: BTreeMap<&PodUid, &PodEntry> = pods.iter().map(|entry| (&entry.pod.uid, entry)).collect();
        for (uid, gone) in self.pods.extract_if(.., |uid, tended| {
            !wanted.contains_key(uid) && !tended.is_announced()
        }) {
            if gone.task.is_finished() {
                self.shared.registry.remove(&uid);
            }
            // Without a sender the task takes its pod out and ends.
            drop(gone.wanted);
            self.leaving.push(Leaving {
                uid,
                let_go: gone.let_go,
                task: gone.task,
            });
        }
        for (uid, entry) in wanted {
            match self.pods.get_mut(uid) {
                Some(tended) if !tended.task.is_finished() => {
                    tended.announced = None;
                    _ = tended
                        .wanted
                        .send_if_modified(|known| replace_if_changed(known, entry));
                }
                _ => {
                    let tended = self.begin(entry.clone(), self.trying.clone());
                    self.pods.insert(uid.clone(), tended);
                }
            }
        }
    }

    /// A pod that comes again waits until the task that it had before has let go of it: what the two do must not mix.
    fn begin(&mut self, entry: PodEntry, trying: Option<Sender<Trying>>) -> Tended {
        let uid = entry.pod.uid.clone();
        let (wanted, receiver) = watch::channel(entry);
        let (here, let_go) = oneshot::channel();
        let before = self.leaving.iter_mut().rev().find(|leaving| leaving.uid == uid);
        let before = before.map(|leaving| std::mem::replace(&mut leaving.let_go, oneshot::channel().1));
        let tender = Tender::new(self.shared.clone(), receiver, trying, here);
        let tend_now = tender.tend_now();
        let tending = OptionFuture::from(before).then(|_| tender.run());
        Tended {
            wanted,
            tend_now,
            announced: None,
            let_go,
            task: tokio::spawn(told_of(uid, self.shared.registry.clone(), tending)),
        }
    }
}

/// A pod that nobody tends any more says so, until a new list of pods gives it another task.
/// (An `async fn` would hold the future twice.)
fn told_of(uid: PodUid, registry: Registry, tending: impl Future<Output = ()>) -> impl Future<Output = ()> {
    AssertUnwindSafe(tending).catch_unwind().map(move |ended| {
        if ended.is_err() {
            registry.update(&uid, |pod| {
                pod.state = PodState::Failed("its task in the agent has panicked, see the log".to_owned());
            });
        }
    })
}

fn replace_if_changed(known: &mut PodEntry, entry: &PodEntry) -> bool {
    let changed = known != entry;
    if changed {
        known.clone_from(entry);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::told_of;
    use crate::pods::pod::{PodName, PodUid};
    use crate::run::registry::{PodState, PodStatus, Registry};

    #[tokio::test]
    async fn a_pod_whose_task_panics_has_failed() {
        let registry = Registry::default();
        let (uid, name) = (
            PodUid::new("u1").unwrap(),
            PodName::new("default", "web").unwrap(),
        );
        registry.put(PodStatus::new(uid.clone(), name, PodState::Enrolled));
        told_of(uid.clone(), registry.clone(), async { panic!("as a test") }).await;
        assert!(
            matches!(registry.get(&uid).unwrap().state, PodState::Failed(why) if why.contains("panicked"))
        );
    }
}
