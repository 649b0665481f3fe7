//! What the agent knows of each pod, for status, metrics and events. The truth is in the kernel; this is the account
//! of how it came to be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use weir_netdetect::choose::Contract;

use crate::enroll::Way;
use crate::pods::pod::{PodName, PodUid};
use crate::verify::Problem;

/// Where a pod is on its way into the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It is not meant to be in the mesh; the sentence says why.
    Left(String),
    /// It is being enrolled, or waits for something that is not an error: ztunnel, its netns.
    Pending(String),
    /// Its connections are captured.
    Enrolled,
    /// The last attempt failed; the next one comes by itself.
    Failed(String),
}

impl PodState {
    /// The word for it in tables and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Left(_) => "left",
            Self::Pending(_) => "pending",
            Self::Enrolled => "enrolled",
            Self::Failed(_) => "failed",
        }
    }

    /// All the words.
    pub const NAMES: [&'static str; 4] = ["left", "pending", "enrolled", "failed"];

    /// Why, in a sentence.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Left(why) | Self::Pending(why) | Self::Failed(why) => why,
            Self::Enrolled => {
                "captured by the socket path: connections are marked as they are made and handed to ztunnel"
            }
        }
    }
}

/// How the last verification of a pod ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// When.
    pub at: SystemTime,
    /// What is wrong; nothing when all is well.
    pub problems: Vec<Problem>,
    /// What was wrong and has been put right.
    pub mended: Vec<Problem>,
}

/// One pod.
#[derive(Clone, Debug)]
pub struct PodStatus {
    /// Its uid.
    pub uid: PodUid,
    /// Its name.
    pub name: PodName,
    /// Where it is.
    pub state: PodState,
    /// Since when.
    pub since: SystemTime,
    /// Netns cookie, once known.
    pub netns: Option<u64>,
    /// By which contract it is, or is being, enrolled.
    pub contract: Contract,
    /// How its connections get to ztunnel, once enrolled.
    pub way: Option<Way>,
    /// Its addresses, once enrolled.
    pub addresses: Vec<IpAddr>,
    /// What is odd about its annotations, or may get in the way.
    pub warnings: Vec<String>,
    /// What of its traffic is not captured because of how it is connected, and why.
    pub uncaptured: Vec<String>,
    /// How often enrolment was tried since it last worked.
    pub attempts: u32,
    /// How the last verification ended.
    pub verified: Option<Verification>,
}

impl PodStatus {
    /// A pod that nothing has been done about yet.
    #[must_use]
    pub fn new(uid: PodUid, name: PodName, state: PodState) -> Self {
        Self {
            uid,
            name,
            state,
            since: SystemTime::now(),
            netns: None,
            contract: Contract::InPod,
            way: None,
            addresses: Vec::new(),
            warnings: Vec::new(),
            uncaptured: Vec::new(),
            attempts: 0,
            verified: None,
        }
    }

    /// It is in no netns any more, and what was true of it there is not.
    pub fn note_out(&mut self) {
        self.netns = None;
        self.way = None;
        self.addresses.clear();
        self.warnings.clear();
        self.uncaptured.clear();
        self.verified = None;
    }
}

/// Upper bounds of the histogram of the time from wish to enrolment, in seconds.
pub const ENROLMENT_BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

/// How long enrolments took.
#[derive(Clone, Debug, Default)]
pub struct EnrolmentTimes {
    /// Enrolments at or below each bound.
    pub buckets: [u64; ENROLMENT_BUCKETS.len()],
    /// All enrolments.
    pub count: u64,
    /// Their times together.
    pub sum: Duration,
}

impl EnrolmentTimes {
    /// Counts one that took this long.
    pub fn record(&mut self, took: Duration) {
        for (bucket, bound) in self.buckets.iter_mut().zip(ENROLMENT_BUCKETS) {
            *bucket += u64::from(took.as_secs_f64() <= bound);
        }
        self.count += 1;
        self.sum += took;
    }
}

#[derive(Debug, Default)]
struct Inner {
    pods: BTreeMap<PodUid, PodStatus>,
    times: EnrolmentTimes,
    failures: u64,
    begun: bool,
}

/// All pods of the node; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    inner: Arc<Mutex<Inner>>,
    changes: watch::Sender<()>,
}

impl Registry {
    /// Adds or replaces a pod.
    pub fn put(&self, status: PodStatus) {
        self.lock().pods.insert(status.uid.clone(), status);
        self.changes.send_replace(());
    }

    /// Forgets a pod.
    pub fn remove(&self, uid: &PodUid) {
        self.lock().pods.remove(uid);
        self.changes.send_replace(());
    }

    /// Changes a pod, if it is still known; notes when its state changed.
    pub fn update(&self, uid: &PodUid, change: impl FnOnce(&mut PodStatus)) {
        let mut inner = self.lock();
        if let Some(pod) = inner.pods.get_mut(uid) {
            let before = pod.state.name();
            change(pod);
            if pod.state.name() != before {
                pod.since = SystemTime::now();
            }
        }
        drop(inner);
        self.changes.send_replace(());
    }

    /// Changes when a pod does.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Counts an enrolment that took this long.
    pub fn record_enrolment(&self, took: Duration) {
        self.lock().times.record(took);
    }

    /// Counts an enrolment that failed.
    pub fn record_failure(&self) {
        self.lock().failures += 1;
    }

    /// Notes that the pods of the first list are being tended.
    pub fn note_begun(&self) {
        self.lock().begun = true;
    }

    /// Whether the pods of the first list are being tended.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.lock().begun
    }

    /// One pod.
    #[must_use]
    pub fn get(&self, uid: &PodUid) -> Option<PodStatus> {
        self.lock().pods.get(uid).cloned()
    }

    /// All pods, ordered by uid.
    #[must_use]
    pub fn pods(&self) -> Vec<PodStatus> {
        self.lock().pods.values().cloned().collect()
    }

    /// The name of the pod with this netns cookie.
    #[must_use]
    pub fn name_in(&self, netns: u64) -> Option<PodName> {
        let inner = self.lock();
        let mut pods = inner.pods.values();
        pods.find(|pod| pod.netns == Some(netns))
            .map(|pod| pod.name.clone())
    }

    /// How long enrolments took.
    #[must_use]
    pub fn enrolment_times(&self) -> EnrolmentTimes {
        self.lock().times.clone()
    }

    /// How many enrolments failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.lock().failures
    }

    /// A panic elsewhere leaves plain data behind, which is still true.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
