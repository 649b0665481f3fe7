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

/// A pod's stay in the list, from when it comes to when it leaves; no two are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stay(u64);

/// What of a pod's enrolment is left for when no more pods come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Later {
    /// The guard at its ways out.
    pub guard: bool,
    /// Settings that matter with time.
    pub settings: bool,
}

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
    /// What need not be there yet.
    pub later: Later,
    /// Its stay, which the list gives it.
    pub stay: Stay,
}

/// All captured pods; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Subjects(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    pods: BTreeMap<PodUid, Subject>,
    last: Stay,
}

impl Subjects {
    /// Adds a pod, or brings up to date what is known of it: then its stay goes on.
    pub fn put(&self, mut subject: Subject) {
        let mut listed = self.lock();
        subject.stay = match listed.pods.get(&subject.uid) {
            Some(known) => known.stay,
            None => {
                listed.last = Stay(listed.last.0 + 1);
                listed.last
            }
        };
        listed.pods.insert(subject.uid.clone(), subject);
    }

    /// Notes what need not be there yet.
    pub fn set_later(&self, uid: &PodUid, later: Later) {
        if let Some(subject) = self.lock().pods.get_mut(uid) {
            subject.later = later;
        }
    }

    /// Forgets a pod.
    pub fn remove(&self, uid: &PodUid) {
        self.lock().pods.remove(uid);
    }

    /// One pod.
    #[must_use]
    pub fn get(&self, uid: &PodUid) -> Option<Subject> {
        self.lock().pods.get(uid).cloned()
    }

    /// A pod in the netns with this cookie.
    #[must_use]
    pub fn in_netns(&self, cookie: u64) -> Option<Subject> {
        let listed = self.lock();
        let mut all = listed.pods.values();
        all.find(|subject| subject.cookie == cookie).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Subject> {
        self.lock().pods.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
