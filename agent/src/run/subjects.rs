//! Pods that are captured, with what it takes to look at them again: the verification's list.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};

use weir_netdetect::choose::Contract;

use crate::enroll::filters::Filters;
use crate::pods::pod::{PodName, PodUid};

/// Asks a pod's task to bring the pod up to date; it answers when it has tried.
pub type TendNow = mpsc::Sender<oneshot::Sender<()>>;

/// A captured pod.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its UID.
    pub uid: PodUid,
    /// Its name.
    pub name: PodName,
    /// Its netns.
    pub netns: Arc<OwnedFd>,
    /// Its netns cookie.
    pub cookie: u64,
    /// Where its ztunnel has its sockets.
    pub contract: Contract,
    /// What its annotations include and exclude.
    pub filters: Filters,
    /// Its task.
    pub tend_now: TendNow,
}

/// All captured pods; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Subjects(Arc<Mutex<BTreeMap<PodUid, Subject>>>);

impl Subjects {
    /// Adds or replaces a pod.
    pub fn put(&self, subject: Subject) {
        self.lock().insert(subject.uid.clone(), subject);
    }

    /// Forgets a pod.
    pub fn remove(&self, uid: &PodUid) {
        self.lock().remove(uid);
    }

    /// One pod.
    #[must_use]
    pub fn get(&self, uid: &PodUid) -> Option<Subject> {
        self.lock().get(uid).cloned()
    }

    /// A pod in the netns with this cookie.
    #[must_use]
    pub fn in_netns(&self, cookie: u64) -> Option<Subject> {
        let subjects = self.lock();
        let mut all = subjects.values();
        all.find(|subject| subject.cookie == cookie).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Subject> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PodUid, Subject>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
