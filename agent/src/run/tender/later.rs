//! What of a pod's way into the mesh is left for when no more pods come. To put a program at an interface is to wait until
//! all CPUs have noticed, some milliseconds in which nobody else changes an interface, and settings are slow to find: of
//! fifty pods that come at once the last would wait for all of them. So a guard that only counts comes later, and in a
//! pod whose start waits for its network so do settings that matter with time. What drops is there before.

use std::os::fd::AsFd as _;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use weir_netdetect::choose::Contract;

use super::Tender;
use crate::enroll::{EnrollError, Enrolled};
use crate::run::subjects::{Later, Subject};

/// What has failed once will hardly do better at once, and others wait for the lock on interfaces.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Tender {
    /// What this attempt leaves for later: what the first does, until it is done.
    pub(super) fn leaves(&self, cookie: u64) -> Later {
        if let Some(in_mesh) = &self.in_mesh {
            return in_mesh.later;
        }
        // What an earlier agent has put there is to stay.
        let is_new = !self.shared.enroller.knows(cookie).unwrap_or(true);
        Later {
            guard: is_new && self.shared.guards_late,
            settings: is_new && self.shared.sandboxes.is_starting(&self.uid),
        }
    }

    /// Does what was left, of a pod that is captured by now.
    pub(super) async fn do_what_was_left(&mut self) {
        let Some(subject) = self.shared.subjects.get(&self.uid) else {
            return;
        };
        let later = match &self.in_mesh {
            Some(in_mesh) if in_mesh.later != Later::default() => in_mesh.later,
            _ => return,
        };
        let left = match subject.contract {
            Contract::InPod => self.try_what_was_left(later, subject).await,
            Contract::Node => Some(Later::default()),
        };
        let (Some(in_mesh), Some(left)) = (&mut self.in_mesh, left) else {
            return;
        };
        in_mesh.later = left;
        self.shared.subjects.set_later(&self.uid, left);
        if left != Later::default() {
            self.wanted_later = Some(Instant::now() + AGAIN_AFTER);
        }
    }

    /// What is left after that. Nothing if the pod is not ours any more.
    async fn try_what_was_left(&mut self, later: Later, subject: Subject) -> Option<Later> {
        let in_mesh = self.in_mesh.as_ref()?;
        let (cookie, netns) = (in_mesh.cookie, in_mesh.netns.clone());
        // None after an attempt that failed: the next one does what this would.
        let mut enrolled = in_mesh.enrolled.clone()?;
        let _own = self.own_turn(cookie).await?;
        let enroller = self.shared.enroller.clone();
        let work = move || {
            let (netns, filters) = (netns.as_fd(), &subject.filters);
            let guard = || enroller.guard(netns, cookie, &filters.virtual_interfaces);
            let guarded = if later.guard { guard() } else { Ok(()) };
            let settled = if later.settings {
                enroller.settle(netns, filters, &mut enrolled)
            } else {
                Ok(())
            };
            (guarded, settled, enrolled)
        };
        let (guarded, settled, enrolled) = spawn_blocking(work).await.ok()?;
        let left = Later {
            guard: guarded.is_err(),
            settings: settled.is_err(),
        };
        self.note_left(guarded, settled, enrolled);
        Some(left)
    }

    /// Says what could not be done, as a count of nothing would be taken for the truth.
    fn note_left(
        &mut self,
        guarded: Result<(), EnrollError>,
        settled: Result<(), EnrollError>,
        enrolled: Enrolled,
    ) {
        let Some(in_mesh) = &mut self.in_mesh else { return };
        let unguarded = guarded
            .err()
            .map(|why| format!("what leaves the pod past ztunnel is not counted: {why}"));
        let unsettled = settled.err().map(|why| format!("it may run out of ports: {why}"));
        let left: Vec<_> = unguarded.into_iter().chain(unsettled).collect();
        if in_mesh.oddities.left != left || in_mesh.enrolled.as_ref() != Some(&enrolled) {
            in_mesh.oddities.left = left;
            in_mesh.enrolled = Some(enrolled);
            self.report_oddities();
        }
    }
}
