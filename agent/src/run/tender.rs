//! Tends one pod: brings it into the mesh, keeps it there, takes it out.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::registry::{PodState, PodStatus, Registry};
use super::subjects::{Subject, Subjects, TendNow};
use crate::enroll::filters::Filters;
use crate::enroll::watch::AddressWatch;
use crate::enroll::{EnrollError, Enrolled, Enroller};
use crate::pods::capture::Capture;
use crate::pods::netns::{FindError, Netns, NetnsError, NetnsId, find_by_proc};
use crate::pods::pod::{Pod, PodEntry, PodUid};
use crate::pods::select::{Rules, Selection, select};
use crate::zds::{AddError, Workload, ZdsEvent, ZdsServer};

/// What all pods' tasks share.
pub(super) struct Shared {
    pub(super) enroller: Enroller,
    pub(super) zds: ZdsServer,
    pub(super) registry: Registry,
    pub(super) rules: Rules,
    pub(super) host: NetnsId,
    pub(super) dns_capture: bool,
    pub(super) subjects: Subjects,
    /// Processes of connected ztunnels.
    pub(super) ztunnels: watch::Receiver<Arc<[u32]>>,
}

/// Why a pod is not enrolled yet.
#[derive(Debug, thiserror::Error)]
enum TendError {
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    #[error(transparent)]
    Zds(AddError),
    #[error("a step of enrolment panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl TendError {
    /// Waiting is not failing: the pod goes on by itself as soon as ztunnel is there.
    fn state(&self) -> PodState {
        match self {
            Self::Zds(AddError::NoZtunnel { .. }) => {
                PodState::Pending("waits for a ztunnel to connect".to_owned())
            }
            other => PodState::Failed(other.to_string()),
        }
    }
}

/// A pod that is in the kernel.
struct InMesh {
    netns: Arc<OwnedFd>,
    enrolled: Enrolled,
    addresses: Option<AddressWatch>,
    /// Whether ztunnel has been told and connections are captured. Telling it again would bring another acknowledgement, and with it
    /// another round; ztunnels that connect later hear of the pod by themselves.
    served: bool,
}

/// The task of one pod.
pub(super) struct Tender {
    shared: Arc<Shared>,
    wanted: watch::Receiver<PodEntry>,
    uid: PodUid,
    in_mesh: Option<InMesh>,
    tend_now: TendNow,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    /// Told when the pod has been tended for the first time.
    tended: Option<oneshot::Sender<()>>,
}

/// Why the task looks at its pod again.
enum Wake {
    /// The source says something new, or ztunnel does, or the pod's addresses changed, or it is time.
    Again,
    /// The verification found something to mend, and wants to know when that has been tried.
    Asked(oneshot::Sender<()>),
    /// The pod is not wanted any more.
    Gone,
}

impl Tender {
    pub(super) fn new(
        shared: Arc<Shared>,
        wanted: watch::Receiver<PodEntry>,
        tended: oneshot::Sender<()>,
    ) -> Self {
        let uid = wanted.borrow().pod.uid.clone();
        let (tend_now, asked) = mpsc::channel(1);
        Self {
            shared,
            wanted,
            uid,
            in_mesh: None,
            tend_now,
            asked,
            tended: Some(tended),
        }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut events = self.shared.zds.events();
        let mut since = Instant::now();
        let mut asked: Option<oneshot::Sender<()>> = None;
        loop {
            let entry = self.wanted.borrow_and_update().clone();
            let pause = match self.tend(&entry, since).await {
                Ok(()) => {
                    backoff = Backoff::new();
                    None
                }
                Err(error) => {
                    self.keep_in_ztunnel(&error);
                    self.report_failure(&entry.pod, &error);
                    Some(backoff.pause())
                }
            };
            if let Some(tended) = self.tended.take() {
                // Nobody waits any more when the first round took too long.
                tended.send(()).ok();
            }
            if let Some(asked) = asked.take() {
                // Whoever asked may have given up.
                asked.send(()).ok();
            }
            // The acknowledgement that this round itself has brought about is no reason for another.
            events = events.resubscribe();
            match self.sleep(&mut events, pause).await {
                Wake::Again => {}
                Wake::Asked(answer) => asked = Some(answer),
                Wake::Gone => break,
            }
            if self.wanted.has_changed().unwrap_or(false) {
                since = Instant::now();
            }
        }
        self.leave().await;
        self.shared.registry.remove(&self.uid);
    }

    /// Makes the pod what its labels and annotations say.
    async fn tend(&mut self, entry: &PodEntry, since: Instant) -> Result<(), TendError> {
        let registry = self.shared.registry.clone();
        if registry.get(&self.uid).is_none() {
            let state = PodState::Pending("is being enrolled".to_owned());
            registry.put(PodStatus::new(self.uid.clone(), entry.pod.name.clone(), state));
        }
        match select(&entry.pod, &entry.namespace_labels, &self.shared.rules) {
            Selection::Leave(why) => {
                self.leave().await;
                registry.update(&self.uid, |pod| {
                    pod.state = PodState::Left(why.to_string());
                    pod.netns = None;
                    pod.addresses.clear();
                });
                Ok(())
            }
            Selection::Enrol => self.bring_in(&entry.pod, since).await,
        }
    }

    async fn bring_in(&mut self, pod: &Pod, since: Instant) -> Result<(), TendError> {
        let (capture, warnings) = Capture::from_annotations(&pod.annotations);
        let netns = self.netns(pod)?;
        let filters = Filters::of(&capture, self.shared.dns_capture);
        let enrolled = self.enroll(netns.clone(), filters.clone()).await?;
        let before = self
            .in_mesh
            .take()
            .filter(|before| before.enrolled.netns == enrolled.netns);
        let served = before.as_ref().is_some_and(|before| before.served);
        let addresses = match before {
            Some(before) => before.addresses,
            None => AddressWatch::start(netns.as_fd()).ok(),
        };
        self.shared.registry.update(&self.uid, |status| {
            status.netns = Some(enrolled.netns);
            status.addresses = enrolled.addresses.own.keys().copied().collect();
            status.warnings = warnings.iter().map(ToString::to_string).collect();
            status.attempts += 1;
        });
        self.in_mesh = Some(InMesh {
            netns: netns.clone(),
            enrolled: enrolled.clone(),
            addresses,
            served,
        });
        if !served {
            self.tell_ztunnel(pod, netns.clone()).await?;
        }
        self.begin_capture(netns.clone(), enrolled.netns).await?;
        self.in_mesh.iter_mut().for_each(|in_mesh| in_mesh.served = true);
        self.shared.subjects.put(Subject {
            uid: self.uid.clone(),
            name: pod.name.clone(),
            netns,
            cookie: enrolled.netns,
            filters,
            tend_now: self.tend_now.clone(),
        });
        self.report_enrolled(pod, since.elapsed());
        Ok(())
    }

    fn netns(&self, pod: &Pod) -> Result<Arc<OwnedFd>, TendError> {
        if let Some(path) = &pod.netns {
            let opened = Netns::open(path, self.shared.host)?;
            return Ok(Arc::new(opened.into()));
        }
        // Without addresses to compare with any netns of the pod's processes is its own.
        let found = find_by_proc(Path::new("/proc"), &pod.uid, self.shared.host, |_| true)?;
        Ok(Arc::new(found.into()))
    }

    async fn enroll(&self, netns: Arc<OwnedFd>, filters: Filters) -> Result<Enrolled, TendError> {
        let enroller = self.shared.enroller.clone();
        Ok(spawn_blocking(move || enroller.enroll(netns.as_fd(), &filters, false)).await??)
    }

    /// ztunnel's acknowledgement says that its listeners are there.
    async fn tell_ztunnel(&self, pod: &Pod, netns: Arc<OwnedFd>) -> Result<(), TendError> {
        let workload = Workload {
            uid: self.uid.as_str().into(),
            name: pod.name.name().to_owned(),
            namespace: pod.name.namespace().to_owned(),
            service_account: pod.service_account.clone(),
            netns,
        };
        self.shared
            .zds
            .add(workload)
            .await
            .map(drop)
            .map_err(TendError::Zds)
    }

    /// Listeners that were there before the pod was tracked are handed to the kernel side first.
    async fn begin_capture(&self, netns: Arc<OwnedFd>, cookie: u64) -> Result<(), TendError> {
        let enroller = self.shared.enroller.clone();
        let processes = self.shared.ztunnels.borrow().clone();
        spawn_blocking(move || {
            enroller.repair_listeners(netns.as_fd(), cookie, &processes)?;
            enroller.capture(cookie)
        })
        .await??;
        Ok(())
    }

    /// Takes the pod out, as far as it was in.
    async fn leave(&mut self) {
        self.shared.subjects.remove(&self.uid);
        let Some(in_mesh) = self.in_mesh.take() else {
            return;
        };
        let cookie = in_mesh.enrolled.netns;
        let enroller = self.shared.enroller.clone();
        // Capturing ends before ztunnel is told, so that no connection meets a ztunnel that has left.
        let released = spawn_blocking(move || enroller.release(Some(in_mesh.netns.as_fd()), cookie)).await;
        match released {
            Ok(Ok(())) => info!(pod = %self.uid, "removed from the mesh"),
            Ok(Err(error)) => {
                warn!(pod = %self.uid, %error, "removed from the mesh, but not everything is gone");
            }
            Err(error) => warn!(pod = %self.uid, %error, "removal panicked"),
        }
        if let Err(error) = self.shared.zds.remove(&self.uid.as_str().into()).await {
            warn!(pod = %self.uid, %error, "ztunnel may still serve the pod");
        }
    }

    /// Waits for a reason to look at the pod again.
    async fn sleep(&mut self, events: &mut broadcast::Receiver<ZdsEvent>, pause: Option<Duration>) -> Wake {
        let uid = self.uid.clone();
        let addresses = async {
            match self
                .in_mesh
                .as_mut()
                .and_then(|in_mesh| in_mesh.addresses.as_mut())
            {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let pause = async {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(answer) = self.asked.recv() => Wake::Asked(answer),
            changed = self.wanted.changed() => if changed.is_ok() { Wake::Again } else { Wake::Gone },
            () = acked(events, uid.as_str()) => Wake::Again,
            () = addresses => Wake::Again,
            () = pause => Wake::Again,
        }
    }

    /// ztunnel may serve the pod since before this agent; it must not drop it only because its netns is not found yet.
    fn keep_in_ztunnel(&self, error: &TendError) {
        if let TendError::Netns(_) | TendError::Find(_) = error
            && self.in_mesh.is_none()
            && let Err(error) = self.shared.zds.keep(self.uid.as_str().into())
        {
            warn!(pod = %self.uid, %error, "ztunnel may drop the pod");
        }
    }

    fn report_enrolled(&self, pod: &Pod, took: Duration) {
        let mut is_news = false;
        self.shared.registry.update(&self.uid, |status| {
            is_news = status.state != PodState::Enrolled;
            status.state = PodState::Enrolled;
            status.attempts = 0;
        });
        if is_news {
            self.shared.registry.record_enrolment(took);
            info!(pod = %pod.name, uid = %self.uid, ?took, "enrolled");
        }
    }

    fn report_failure(&self, pod: &Pod, error: &TendError) {
        let state = error.state();
        if let PodState::Failed(_) = state {
            self.shared.registry.record_failure();
            warn!(pod = %pod.name, uid = %self.uid, %error, "not enrolled; trying again");
        }
        self.shared
            .registry
            .update(&self.uid, |status| status.state = state);
    }
}

/// Waits until a ztunnel says that it serves the pod. Events that were missed may have said so.
async fn acked(events: &mut broadcast::Receiver<ZdsEvent>, pod: &str) {
    loop {
        match events.recv().await {
            Ok(ZdsEvent::PodAcked { uid, .. }) if uid.as_str() == pod => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
