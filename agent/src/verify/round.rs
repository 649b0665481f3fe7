//! Rounds over the pods: look, mend, look again, tell.

use std::os::fd::AsFd as _;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use tokio::sync::oneshot;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;
use tracing::{info, warn};
use weir_netdetect::choose::Contract;

use super::check::Problem;
use super::look::Looked;
use super::{active, look, problems, redirected};
use crate::api::VERSION;
use crate::api::verify::{VerifiedPod, VerifyReport};
use crate::enroll::EnrollError;
use crate::enroll::interfaces::Wanted;
use crate::run::config::GuardMode;
use crate::run::registry::{PodState, PodStatus, Verification};
use crate::run::subjects::{Subject, Subjects};
use crate::run::view::View;
use crate::status;

/// Pods at the same time.
const AT_ONCE: usize = 4;
/// Enrolment waits at most so long for ztunnel.
const MEND_WITHIN: Duration = Duration::from_secs(10);

/// Verifies all pods every now and then.
pub async fn regularly(view: View) {
    let mut ticks = tokio::time::interval(view.config.verify_interval);
    // The first tick is at once, before any pod is captured.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        pods(&view, view.subjects.all()).await;
    }
}

/// Verifies captured pods, and notes the results.
pub async fn pods(view: &View, subjects: Vec<Subject>) {
    futures::stream::iter(subjects)
        .for_each_concurrent(AT_ONCE, async |subject| pod(view, &subject).await)
        .await;
}

/// How the pods stand: those that were just verified, and those that should be captured and are not.
#[must_use]
pub fn report(mut pods: Vec<PodStatus>) -> VerifyReport {
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    VerifyReport {
        api_version: VERSION,
        pods: pods.iter().map(reported).collect(),
    }
}

fn reported(pod: &PodStatus) -> VerifiedPod {
    VerifiedPod {
        uid: pod.uid.to_string(),
        namespace: pod.name.namespace().to_owned(),
        name: pod.name.name().to_owned(),
        state: pod.state.name().to_owned(),
        why: status::why(pod),
        verified: match pod.state {
            PodState::Left(_) => None,
            _ => pod.verified.as_ref().map(status::verified),
        },
    }
}

async fn pod(view: &View, subject: &Subject) {
    let mut found = examine(view, subject).await;
    let mut mended = Vec::new();
    if found.iter().any(|problem| problem.check.is_mendable()) {
        if !is_current(&view.subjects, subject) {
            return;
        }
        mend(subject).await;
        let left = examine(view, subject).await;
        mended = found;
        mended.retain(|problem| left.iter().all(|other| other.check != problem.check));
        found = left;
    }
    if !is_current(&view.subjects, subject) {
        return;
    }
    tell(view, subject, &found, &mended);
    view.registry.update(&subject.uid, |pod| {
        pod.verified = Some(Verification {
            at: SystemTime::now(),
            problems: found,
            mended,
        });
    });
}

/// Whether the pod is still what was looked for: one that leaves meanwhile has no problem, even if it comes back.
fn is_current(subjects: &Subjects, subject: &Subject) -> bool {
    let now = subjects.get(&subject.uid);
    now.is_some_and(|now| {
        (now.stay, now.cookie) == (subject.stay, subject.cookie) && now.filters == subject.filters
    })
}

async fn examine(view: &View, subject: &Subject) -> Vec<Problem> {
    let (view, subject) = (view.clone(), subject.clone());
    let examined: Result<Result<Vec<Problem>, EnrollError>, JoinError> = spawn_blocking(move || {
        if subject.contract == Contract::Node {
            return redirected::problems(&view, &subject);
        }
        let connects = active::is_covered(&view.node.hierarchy, view.datapath.cgroup());
        let place = (subject.netns.as_fd(), subject.cookie);
        let wanted = Wanted {
            guard: !subject.later.guard && view.config.guard != GuardMode::Off,
            virtual_interfaces: subject.filters.virtual_interfaces.clone(),
        };
        let looked = Looked {
            filters: &subject.filters,
            at_interfaces: &wanted,
            late_settings: !subject.later.settings,
            connects,
        };
        let pod = look::pod(&view.datapath, place, &looked)?;
        // After the connection, so that listeners that come meanwhile are not missed.
        let node = look::node(&view.datapath, view.datapath.unattached()?)?;
        Ok(problems(look::wanted(&subject), &node, &pod))
    })
    .await;
    match examined {
        Ok(Ok(problems)) => problems,
        Ok(Err(error)) => vec![Problem::unreadable(&error)],
        Err(panicked) => vec![Problem::unreadable(&panicked)],
    }
}

/// Has the pod tended again, and waits until that has been tried.
async fn mend(subject: &Subject) {
    let (done, tended) = oneshot::channel();
    let asked = async {
        if subject.tend_now.send(done).await.is_ok() {
            // A pod that goes meanwhile needs no mending.
            tended.await.ok();
        }
    };
    if timeout(MEND_WITHIN, asked).await.is_err() {
        warn!(pod = %subject.name, "mending takes long");
    }
}

/// Says what is new: a problem that stays is told once.
fn tell(view: &View, subject: &Subject, found: &[Problem], mended: &[Problem]) {
    for problem in mended {
        info!(pod = %subject.name, check = problem.check.name(), problem = problem.detail, "mended");
    }
    let before = view.registry.get(&subject.uid).and_then(|pod| pod.verified);
    let is_known = |problem| {
        before
            .as_ref()
            .is_some_and(|before| before.problems.contains(problem))
    };
    for problem in found.iter().filter(|problem| !is_known(problem)) {
        warn!(pod = %subject.name, check = problem.check.name(), problem = problem.detail, "verification failed");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use tokio::sync::mpsc::channel;
    use weir_netdetect::choose::Contract;

    use super::{Subject, Subjects, is_current};
    use crate::enroll::filters::Filters;
    use crate::pods::pod::{PodName, PodUid};
    use crate::run::subjects::{Later, Stay};

    fn subject() -> Subject {
        Subject {
            uid: PodUid::new("u1").unwrap(),
            name: PodName::new("default", "web").unwrap(),
            netns: Arc::new(File::open("/proc/self/ns/net").unwrap().into()),
            cookie: 17,
            contract: Contract::InPod,
            filters: Filters::default(),
            tend_now: channel(1).0,
            later: Later::default(),
            stay: Stay::default(),
        }
    }

    #[test]
    fn a_pod_that_left_while_it_was_looked_at_is_another_when_it_is_back() {
        let (subjects, uid) = (Subjects::default(), subject().uid);
        subjects.put(subject());
        let looked_at = subjects.get(&uid).unwrap();
        subjects.put(subject());
        assert!(is_current(&subjects, &looked_at), "it was only tended again");
        subjects.remove(&uid);
        assert!(!is_current(&subjects, &looked_at));
        subjects.put(subject());
        assert!(
            !is_current(&subjects, &looked_at),
            "what was seen is of the time in between"
        );
        assert!(is_current(&subjects, &subjects.get(&uid).unwrap()));
    }
}
