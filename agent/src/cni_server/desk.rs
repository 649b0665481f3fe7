//! What the plugin is answered.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info};
use weir_cni::protocol::{Attachment, Command, Outcome, Request};

use super::CniTally;
use super::find::{find, listed_uid};
use crate::inside;
use crate::pods::netns::{Netns, NetnsError};
use crate::pods::pod::{PodEntry, PodName, PodUid};
use crate::pods::select::{Selection, select};
use crate::run::backoff::Backoff;
use crate::run::calls::Calls;
use crate::run::registry::{PodState, PodStatus};
use crate::run::sandboxes::Sandbox;
use crate::run::subjects::TendNow;
use crate::run::view::View;
use crate::verify;

/// How long a pod may take into the mesh before its start is put off.
const ENROL_WITHIN: Duration = Duration::from_secs(8);
/// How long its way out may take before its end goes on without.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);
/// The interface that runtimes give pods; others are added by hand.
const PRIMARY: &str = "eth0";

/// Why a question is refused.
#[derive(Debug, thiserror::Error)]
enum DeskError {
    #[error("no network namespace came with the question")]
    NoNetns,
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error(transparent)]
    Inside(#[from] inside::InsideError),
}

/// Answers questions.
pub(super) struct Desk {
    view: View,
    calls: Calls,
    /// Whether a netns need not be entered for its cookie.
    tells_cookies: bool,
}

/// A netns with its cookie.
struct Handed {
    netns: Arc<OwnedFd>,
    cookie: u64,
}

impl Desk {
    pub(super) fn new(view: View, calls: Calls) -> Self {
        Self {
            view,
            calls,
            tells_cookies: inside::tells_cookies(),
        }
    }

    pub(super) const fn tally(&self) -> &CniTally {
        &self.view.cni
    }

    pub(super) async fn answer(self: &Arc<Self>, request: Request, netns: Option<OwnedFd>) -> Outcome {
        match request.command {
            Command::Add(attachment) => self.add(attachment, netns).await,
            Command::Del(attachment) => self.del(attachment, netns).await,
            Command::Check(attachment) => self.check(attachment, netns).await,
            Command::Gc { network, sandboxes } => self.gc(&network, &sandboxes).await,
        }
    }

    async fn add(self: &Arc<Self>, attachment: Attachment, netns: Option<OwnedFd>) -> Outcome {
        let name = match PodName::new(attachment.namespace.as_str(), attachment.name.as_str()) {
            Ok(name) => name,
            Err(error) => return refused(error),
        };
        if netns.is_none() {
            return refused(DeskError::NoNetns);
        }
        let entry = match find(&self.view.source, &name, attachment.uid.as_deref()).await {
            Ok(entry) => entry,
            Err(error) => {
                return Outcome::Later {
                    why: error.to_string(),
                };
            }
        };
        match select(&entry.pod, &entry.namespace_labels, &self.view.config.rules) {
            Selection::Leave(why) => {
                // Nobody has to wait for what is of use only if it is put into the mesh later.
                let desk = self.clone();
                tokio::spawn(async move { desk.note_outside(attachment, netns, entry).await });
                Outcome::Outside { why: why.to_string() }
            }
            Selection::Enrol => self.enrol(attachment, netns, entry).await,
        }
    }

    async fn note_outside(&self, attachment: Attachment, netns: Option<OwnedFd>, entry: PodEntry) {
        match self.take(netns).await {
            Ok(handed) => self.note(&entry.pod.uid, attachment, handed, false),
            Err(error) => {
                return debug!(pod = %entry.pod.name, %error, "the netns of a pod outside of the mesh");
            }
        }
        self.calls.starts(entry).await;
    }

    /// A further interface of a sandbox that is known changes nothing.
    fn note(&self, uid: &PodUid, attachment: Attachment, handed: Handed, starting: bool) {
        let known = self.calls.sandboxes.get(uid);
        if known.is_some_and(|known| known.id == attachment.sandbox && known.cookie == handed.cookie) {
            return;
        }
        let sandbox = Sandbox {
            id: attachment.sandbox,
            network: attachment.network,
            interface: attachment.interface,
            netns: handed.netns,
            cookie: handed.cookie,
            starting,
        };
        self.calls.sandboxes.put(uid.clone(), sandbox);
    }

    /// Has the pod's task try until the pod is in the mesh, or it takes too long.
    async fn enrol(&self, attachment: Attachment, netns: Option<OwnedFd>, entry: PodEntry) -> Outcome {
        let handed = match self.take(netns).await {
            Ok(handed) => handed,
            Err(error) => return refused(error),
        };
        let (uid, cookie) = (entry.pod.uid.clone(), handed.cookie);
        self.note(&uid, attachment, handed, true);
        match self.calls.starts(entry).await {
            Some(tend_now) => self.tend(&uid, cookie, &tend_now).await,
            None => later("the agent is ending"),
        }
    }

    async fn tend(&self, uid: &PodUid, cookie: u64, tend_now: &TendNow) -> Outcome {
        let deadline = Instant::now() + ENROL_WITHIN;
        let mut backoff = Backoff::new();
        loop {
            let tried = ask_to_tend(tend_now, deadline).await;
            let status = self.view.registry.get(uid);
            match outcome_of_chosen(status, cookie) {
                Outcome::Later { why } | Outcome::Refused { why } if !tried => {
                    return later(&format!("{why}; this takes longer than {ENROL_WITHIN:?}"));
                }
                not_yet @ (Outcome::Later { .. } | Outcome::Refused { .. }) => {
                    let pause = backoff.pause();
                    if Instant::now() + pause >= deadline {
                        return not_yet;
                    }
                    sleep(pause).await;
                }
                settled => return settled,
            }
        }
    }

    async fn del(&self, attachment: Attachment, netns: Option<OwnedFd>) -> Outcome {
        let sandboxes = &self.calls.sandboxes;
        let known = sandboxes.pod_of(&attachment.sandbox);
        let Some(uid) = known.or_else(|| self.uid_of(&attachment)) else {
            return Outcome::Done;
        };
        let is_other = |sandbox: Sandbox| {
            sandbox.interface != attachment.interface || sandbox.network != attachment.network
        };
        let is_further = match sandboxes.get(&uid) {
            Some(sandbox) => is_other(sandbox),
            None => attachment.interface != PRIMARY,
        };
        if !is_further {
            let cookie = self.take(netns).await.ok().map(|handed| handed.cookie);
            self.end(uid, &attachment.sandbox, cookie).await;
        }
        Outcome::Done
    }

    /// The uid of the pod that the runtime tells of by its own.
    fn uid_of(&self, attachment: &Attachment) -> Option<PodUid> {
        let given = attachment.uid.as_deref()?;
        let name = PodName::new(attachment.namespace.as_str(), attachment.name.as_str()).ok()?;
        let listed = listed_uid(&self.view.source, &name, given);
        listed.or_else(|| PodUid::new(given).ok())
    }

    /// Lets the pod of a sandbox go. What takes too long goes on by itself.
    async fn end(&self, uid: PodUid, sandbox: &str, cookie: Option<u64>) {
        if !self.calls.sandboxes.end(&uid, sandbox, cookie) {
            return;
        }
        match self.calls.ended(uid.clone()).await {
            Some(tend_now) => {
                ask_to_tend(&tend_now, Instant::now() + RELEASE_WITHIN).await;
            }
            None => self.calls.sandboxes.forget(&uid),
        }
    }

    async fn check(&self, attachment: Attachment, netns: Option<OwnedFd>) -> Outcome {
        let handed = match self.take(netns).await {
            Ok(handed) => handed,
            Err(error) => return refused(error),
        };
        let pods = self.view.registry.pods();
        let uid = self.uid_of(&attachment);
        let is_it = |pod: &&PodStatus| match &attachment.uid {
            Some(_) => uid.as_ref() == Some(&pod.uid),
            None => pod.name.namespace() == attachment.namespace && pod.name.name() == attachment.name,
        };
        let Some(pod) = pods.iter().find(is_it) else {
            return not_captured("the agent does not know the pod");
        };
        match outcome_of(Some(pod.clone()), handed.cookie) {
            Outcome::Later { why } | Outcome::Refused { why } => Outcome::NotCaptured { why },
            Outcome::Enrolled => self.verify(&pod.uid).await,
            other => other,
        }
    }

    async fn verify(&self, uid: &PodUid) -> Outcome {
        verify::pods(&self.view, self.view.subjects.get(uid).into_iter().collect()).await;
        let verified = self.view.registry.get(uid).and_then(|pod| pod.verified);
        let problems = verified.map_or_else(Vec::new, |verified| verified.problems);
        match problems.first() {
            None => Outcome::Enrolled,
            Some(problem) => not_captured(&problem.detail),
        }
    }

    async fn gc(&self, network: &str, sandboxes: &[String]) -> Outcome {
        for (uid, sandbox) in self.calls.sandboxes.others(network, sandboxes) {
            info!(%uid, sandbox, "the runtime has no such sandbox any more");
            self.end(uid, &sandbox, None).await;
        }
        Outcome::Done
    }

    async fn take(&self, netns: Option<OwnedFd>) -> Result<Handed, DeskError> {
        let netns = netns.ok_or(DeskError::NoNetns)?;
        let netns = Netns::adopt_unentered(Path::new("CNI_NETNS"), netns, self.view.node.id)?;
        let netns = Arc::new(OwnedFd::from(netns));
        let told = self.tells_cookies.then(|| inside::told_cookie(netns.as_fd()));
        let cookie = match told.flatten() {
            Some(cookie) => cookie,
            None => inside::visit(netns.clone(), inside::current_cookie).await??,
        };
        Ok(Handed { netns, cookie })
    }
}

/// Asks a pod's task to look at its pod, and says whether it has by then.
async fn ask_to_tend(tend_now: &TendNow, deadline: Instant) -> bool {
    let (answer, tried) = oneshot::channel();
    let asked = async {
        tend_now.send(answer).await.ok()?;
        tried.await.ok()
    };
    matches!(timeout_at(deadline, asked).await, Ok(Some(())))
}

/// Where a pod is, seen from a netns that should be its own.
fn outcome_of(status: Option<PodStatus>, cookie: u64) -> Outcome {
    let Some(PodStatus { state, netns, .. }) = status else {
        return later("the agent has not looked at the pod yet");
    };
    match state {
        PodState::Enrolled if netns == Some(cookie) => Outcome::Enrolled,
        PodState::Enrolled => later("another network namespace of the pod is in the mesh"),
        PodState::Pending(why) => Outcome::Later { why },
        PodState::Failed(why) => Outcome::Refused { why },
        PodState::Left(why) => Outcome::Outside { why },
    }
}

/// The same for a pod that has just been chosen for the mesh. Its task may not have heard of that yet: by what it knows,
/// the pod would start in clear.
fn outcome_of_chosen(status: Option<PodStatus>, cookie: u64) -> Outcome {
    match outcome_of(status, cookie) {
        Outcome::Outside { why } => later(&format!(
            "the agent is yet to act on its being in the mesh ({why})"
        )),
        other => other,
    }
}

fn later(why: &str) -> Outcome {
    Outcome::Later { why: why.to_owned() }
}

fn not_captured(why: &str) -> Outcome {
    Outcome::NotCaptured { why: why.to_owned() }
}

fn refused(error: impl std::fmt::Display) -> Outcome {
    Outcome::Refused {
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use weir_cni::protocol::Outcome;

    use super::outcome_of_chosen;
    use crate::pods::pod::{PodName, PodUid};
    use crate::run::registry::{PodState, PodStatus};

    fn chosen(state: PodState, netns: Option<u64>) -> Outcome {
        let name = PodName::new("shop", "web").unwrap();
        let mut status = PodStatus::new(PodUid::new("u").unwrap(), name, state);
        status.netns = netns;
        outcome_of_chosen(Some(status), 7)
    }

    #[test]
    fn a_pod_that_was_chosen_for_the_mesh_starts_in_it_or_not_at_all() {
        let why = || "reasons".to_owned();
        assert_eq!(chosen(PodState::Enrolled, Some(7)), Outcome::Enrolled);
        // Before its task hears of the label that was put on it, or on its namespace.
        let left = chosen(PodState::Left(why()), None);
        assert!(
            matches!(&left, Outcome::Later { why } if why.contains("reasons")),
            "{left:?}"
        );
        for not_yet in [
            outcome_of_chosen(None, 7),
            chosen(PodState::Enrolled, Some(8)),
            chosen(PodState::Pending(why()), Some(7)),
        ] {
            assert!(matches!(not_yet, Outcome::Later { .. }), "{not_yet:?}");
        }
        let failed = chosen(PodState::Failed(why()), Some(7));
        assert!(matches!(failed, Outcome::Refused { .. }), "{failed:?}");
    }
}
