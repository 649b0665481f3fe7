//! Tends one pod: brings it into the mesh, keeps it there, takes it out.

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use weir_netdetect::choose::Contract;

mod capture;
mod error;
mod later;
mod leave;
mod netns;
mod node;
mod report;
mod wake;
mod wiring;

pub(super) use capture::Unaided;
use error::TendError;
use leave::Leaving;
use wake::Wake;

use super::backoff::Backoff;
use super::claims::{Claims, Holder};
use super::config::ContractMode;
use super::lull::Lull;
use super::registry::{PodState, PodStatus, Registry};
use super::release::{Releaser, SharedNetns};
use super::sandboxes::Sandboxes;
use super::subjects::{Later, Stay, Subject, Subjects, TendNow};
use crate::enroll::filters::Filters;
use crate::enroll::redirect::Ztunnels;
use crate::enroll::watch::NetnsWatch;
use crate::enroll::{EnrollError, Enrolled, Enroller, Told};
use crate::inside;
use crate::pods::capture::Capture;
use crate::pods::netns::{NetnsId, Walks};
use crate::pods::pod::{Pod, PodEntry, PodName, PodUid};
use crate::pods::select::{Rules, Selection, select};
use crate::zds::{ConnectionId, Workload, ZdsServer};

/// What all pods' tasks share.
pub(super) struct Shared {
    pub(super) enroller: Enroller,
    pub(super) claims: Claims,
    pub(super) releaser: Releaser,
    pub(super) zds: ZdsServer,
    pub(super) registry: Registry,
    pub(super) rules: Rules,
    pub(super) host: NetnsId,
    pub(super) walks: Arc<Walks>,
    pub(super) dns_capture: bool,
    pub(super) subjects: Subjects,
    pub(super) sandboxes: Sandboxes,
    pub(super) unaided: Unaided,
    /// Whether the guard may come after a pod has been captured.
    pub(super) guards_late: bool,
    /// When it is time for what nobody waits for.
    pub(super) lull: Lull,
    /// Processes of connected ztunnels.
    pub(super) ztunnels: watch::Receiver<Arc<[u32]>>,
    /// Where ztunnel is meant to have its sockets.
    pub(super) contract: ContractMode,
    /// Ztunnels that have them in their own namespaces, unless nobody looks for any.
    pub(super) node_ztunnels: Option<watch::Receiver<Arc<Ztunnels>>>,
}

/// Nothing is ever sent: that all senders are gone says that all pods have been tried.
pub(super) type Trying = Infallible;

/// A pod that is in the kernel.
struct InMesh {
    netns: SharedNetns,
    cookie: u64,
    /// What the last attempt did; nothing if it failed on the way.
    enrolled: Option<Enrolled>,
    changes: Option<NetnsWatch>,
    /// The first ztunnel that serves it; later ones are told by the server.
    served: Option<ConnectionId>,
    captured: bool,
    /// What is still to be done for it.
    later: Later,
    /// What is odd about its annotations, and the way in which it is connected, and what could not be
    /// done for it later.
    oddities: Oddities,
}

#[derive(Default)]
struct Oddities {
    annotations: Vec<String>,
    wiring: Told,
    left: Vec<String>,
}

/// The task of one pod.
pub(super) struct Tender {
    shared: Arc<Shared>,
    wanted: watch::Receiver<PodEntry>,
    uid: PodUid,
    name: PodName,
    in_mesh: Option<InMesh>,
    tend_now: TendNow,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    /// Kept until the first try is over.
    trying: Option<mpsc::Sender<Trying>>,
    /// Dropped when nothing of the pod is in the kernel any more.
    here: oneshot::Sender<()>,
    /// ztunnel has heard of the pod, or will.
    announced: bool,
    leaving: Option<Leaving>,
    node_ztunnels: Option<watch::Receiver<Arc<Ztunnels>>>,
    acks: watch::Receiver<Option<ConnectionId>>,
    /// How long it has taken to come into the mesh, until that is logged.
    news: Option<Duration>,
    /// Since when it is wanted to guard the pod, and to look how it is connected.
    wanted_later: Option<tokio::time::Instant>,
}

impl Tender {
    /// A pod of the first list is kept by a ztunnel that serves it already, however long it takes to be enrolled.
    pub(super) fn new(
        shared: Arc<Shared>,
        wanted: watch::Receiver<PodEntry>,
        trying: Option<mpsc::Sender<Trying>>,
        here: oneshot::Sender<()>,
    ) -> Self {
        let (uid, name) = (wanted.borrow().pod.uid.clone(), wanted.borrow().pod.name.clone());
        let selected = matches!(selection(&shared, &wanted.borrow()), Selection::Enrol);
        let (tend_now, asked) = mpsc::channel(1);
        let node_ztunnels = shared.node_ztunnels.clone();
        let acks = shared.zds.acks(&uid);
        let announced = trying.is_some() && selected && shared.zds.keep(uid.clone()).is_ok();
        Self {
            shared,
            wanted,
            uid,
            name,
            in_mesh: None,
            tend_now,
            asked,
            trying,
            here,
            announced,
            leaving: None,
            node_ztunnels,
            acks,
            news: None,
            wanted_later: None,
        }
    }

    /// How others ask for the pod to be looked at.
    pub(super) fn tend_now(&self) -> TendNow {
        self.tend_now.clone()
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut since = Instant::now();
        let mut asked: Option<oneshot::Sender<()>> = None;
        loop {
            // What tending needs is had while it lasts: there is a task for each pod, and most only wait.
            let pause = Box::pin(self.try_to_tend(&mut backoff, since)).await;
            self.trying = None;
            if let Some(asked) = asked.take() {
                // Whoever asked may have given up.
                asked.send(()).ok();
                // Who has not goes on first.
                yield_now().await;
            }
            self.log_news();
            self.wanted_later = pause
                .is_none()
                .then(|| self.wanted_later.unwrap_or_else(tokio::time::Instant::now));
            match self.sleep(pause).await {
                Wake::Again => {}
                Wake::Asked(answer) => {
                    asked = Some(answer);
                    // A pod that has had to wait for its sandbox is wished for from now on.
                    if self.in_mesh.is_none() {
                        since = Instant::now();
                    }
                }
                Wake::Gone => break,
            }
            if self.wanted.has_changed().unwrap_or(false) {
                since = Instant::now();
            }
        }
        Box::pin(self.end()).await;
    }

    /// How long to wait before another try, unless this one has succeeded.
    async fn try_to_tend(&mut self, backoff: &mut Backoff, since: Instant) -> Option<Duration> {
        let entry = self.wanted.borrow_and_update().clone();
        match self.tend(&entry, since).await {
            Ok(()) => {
                *backoff = Backoff::new();
                None
            }
            Err(error) => {
                self.report_failure(&entry.pod, &error);
                Some(backoff.pause())
            }
        }
    }

    /// Makes the pod what its labels and annotations say.
    async fn tend(&mut self, entry: &PodEntry, since: Instant) -> Result<(), TendError> {
        let registry = self.shared.registry.clone();
        if registry.get(&self.uid).is_none() {
            let state = PodState::Pending("is being enrolled".to_owned());
            registry.put(PodStatus::new(self.uid.clone(), entry.pod.name.clone(), state));
        }
        match selection(&self.shared, entry) {
            Selection::Leave(why) => {
                self.leave(&entry.pod).await;
                registry.update(&self.uid, |pod| {
                    pod.state = PodState::Left(why.to_string());
                    pod.note_out();
                });
                Ok(())
            }
            Selection::Enrol => self.bring_in(&entry.pod, since).await,
        }
    }

    async fn bring_in(&mut self, pod: &Pod, since: Instant) -> Result<(), TendError> {
        let (capture, warnings) = Capture::from_annotations(&pod.annotations);
        let netns = self.netns_or_forget(pod).await?;
        let cookie = self.cookie(&netns)?;
        if self
            .in_mesh
            .as_ref()
            .is_some_and(|before| before.cookie != cookie)
        {
            // The netns that it had is not a pod's any more.
            self.forget().await;
        }
        let filters = Filters::of(&capture, self.shared.dns_capture);
        let contract = self.contract(cookie)?;
        self.enroll(netns.clone(), cookie, (contract, filters.clone()))
            .await?;
        self.close(cookie)?;
        self.note_annotations(warnings.iter().map(ToString::to_string).collect());
        self.report_in_mesh(contract);
        let first = match contract {
            Contract::InPod => {
                self.tell_ztunnel(pod).await?;
                self.begin_capture().await?
            }
            Contract::Node => self.begin_redirect().await?,
        };
        self.shared.sandboxes.note_started(&self.uid);
        self.shared.subjects.put(Subject {
            uid: self.uid.clone(),
            name: self.name.clone(),
            netns,
            cookie,
            contract,
            filters,
            tend_now: self.tend_now.clone(),
            later: self
                .in_mesh
                .as_ref()
                .map_or_else(Later::default, |in_mesh| in_mesh.later),
            stay: Stay::default(),
        });
        self.report_enrolled(first.then(|| since.elapsed()));
        Ok(())
    }

    /// A pod whose sandbox is gone has nothing in the kernel any more, though the pod may get another one.
    async fn netns_or_forget(&mut self, pod: &Pod) -> Result<SharedNetns, TendError> {
        let netns = self.netns(pod).await;
        if self.shared.sandboxes.lost(&self.uid).is_some() && netns.is_err() {
            self.forget().await;
            self.announced = false;
            self.shared.registry.update(&self.uid, PodStatus::note_out);
            return Err(TendError::NoSandbox);
        }
        netns
    }

    /// Who handed the netns over has read it.
    fn cookie(&self, netns: &SharedNetns) -> Result<u64, EnrollError> {
        match self.shared.sandboxes.get(&self.uid) {
            Some(sandbox) if Arc::ptr_eq(&sandbox.netns, netns) => Ok(sandbox.cookie),
            _ => self.shared.enroller.cookie(netns.as_fd()),
        }
    }

    /// A pod in which nothing runs yet is captured before ztunnel is there: not one of its connections is in clear.
    fn close(&self, cookie: u64) -> Result<(), TendError> {
        if self.shared.sandboxes.is_starting(&self.uid) {
            self.shared.enroller.capture(cookie)?;
        }
        Ok(())
    }

    async fn enroll(
        &mut self,
        netns: SharedNetns,
        cookie: u64,
        (contract, filters): (Contract, Filters),
    ) -> Result<(), TendError> {
        let mut turn = self.shared.claims.turn(cookie).await;
        *turn = Holder::Pod(self.uid.clone());
        let before = self.in_mesh.as_mut().and_then(|in_mesh| in_mesh.enrolled.take());
        let later = self.leaves(cookie);
        let (mut enroller, handle) = (self.shared.enroller.clone(), netns.clone());
        if later.guard {
            enroller = enroller.with_guard(false);
        }
        if later.settings {
            enroller = enroller.in_a_hurry();
        }
        if self.in_mesh.is_none() {
            self.shared.lull.end();
        }
        let mut changes = self.in_mesh.as_mut().and_then(|in_mesh| in_mesh.changes.take());
        let work = move || {
            let wanted = (contract, &filters);
            let enrolled = enroller.enroll(handle.as_fd(), cookie, wanted, before.as_ref(), &mut changes);
            (enrolled, changes)
        };
        let visited = inside::visit(netns.clone(), work).await;
        let (enrolled, changes) = visited.unwrap_or_else(|error| (Err(EnrollError::from(error)), None));
        let enrolled = enrolled.map_err(TendError::from);
        match (enrolled, &mut self.in_mesh) {
            (Ok(enrolled), Some(in_mesh)) => {
                in_mesh.enrolled = Some(enrolled);
                in_mesh.changes = changes;
            }
            (Ok(enrolled), None) => {
                self.in_mesh = Some(InMesh {
                    netns,
                    cookie,
                    enrolled: Some(enrolled),
                    changes,
                    served: None,
                    captured: false,
                    later,
                    oddities: Oddities::default(),
                });
            }
            (Err(error), Some(in_mesh)) => {
                in_mesh.changes = changes;
                return Err(error);
            }
            (Err(error), None) => {
                self.shared.claims.give_up(cookie, turn);
                return Err(error);
            }
        }
        Ok(())
    }

    /// ztunnel's acknowledgement says that its listeners are there; to a later ztunnel the server tells the pod itself.
    async fn tell_ztunnel(&mut self, pod: &Pod) -> Result<(), TendError> {
        let Some(in_mesh) = self.in_mesh.as_mut().filter(|in_mesh| in_mesh.served.is_none()) else {
            return Ok(());
        };
        let workload = Workload {
            uid: self.uid.clone(),
            name: pod.name.name().to_owned(),
            namespace: pod.name.namespace().to_owned(),
            service_account: pod.service_account.clone(),
            netns: in_mesh.netns.clone(),
        };
        self.announced = true;
        if let Some(leaving) = self.leaving.take() {
            leaving.task.abort();
        }
        let acked = self.shared.zds.add(workload).await.map_err(TendError::Zds)?;
        in_mesh.served = Some(acked.connection);
        Ok(())
    }
}

fn selection(shared: &Shared, entry: &PodEntry) -> Selection {
    select(&entry.pod, &entry.namespace_labels, &shared.rules)
}
