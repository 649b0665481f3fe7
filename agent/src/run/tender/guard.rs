//! The guard of a pod that comes into the mesh. To put a program at an interface is to wait until all CPUs have noticed,
//! some milliseconds in which nobody else changes an interface, so of fifty pods that come at once the last would wait
//! for all of them. What only counts comes when no more pods come; what drops is there before.

use std::os::fd::AsFd as _;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use weir_netdetect::choose::Contract;

use super::Tender;

/// What has failed once will hardly do better at once, and others wait for the lock on interfaces.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Tender {
    /// Whether this attempt leaves the guard for later: the first does, and until then so do further ones.
    pub(super) fn leaves_guard(&self, cookie: u64) -> bool {
        match &self.in_mesh {
            Some(in_mesh) => !in_mesh.guarded,
            // What an earlier agent has put there is to stay.
            None => self.shared.guards_late && !self.shared.enroller.knows(cookie).unwrap_or(true),
        }
    }

    /// Puts the guard at the ways out of a pod that has come without it.
    pub(super) async fn guard_late(&mut self) {
        let Some(in_mesh) = self.in_mesh.as_ref().filter(|in_mesh| !in_mesh.guarded) else {
            return;
        };
        let Some(subject) = self.shared.subjects.get(&self.uid) else {
            return;
        };
        if subject.contract == Contract::InPod {
            let Some(_own) = self.own_turn(in_mesh.cookie).await else {
                return;
            };
            let (enroller, netns, cookie) = (
                self.shared.enroller.clone(),
                in_mesh.netns.clone(),
                in_mesh.cookie,
            );
            let work = move || enroller.guard(netns.as_fd(), cookie, &subject.filters.virtual_interfaces);
            match spawn_blocking(work).await {
                Ok(Ok(())) => self.note_unguarded(None),
                Ok(Err(error)) => {
                    self.note_unguarded(Some(error.to_string()));
                    self.wanted_later = Some(Instant::now() + AGAIN_AFTER);
                    return;
                }
                // The runtime ends.
                Err(_) => return,
            }
        }
        if let Some(in_mesh) = &mut self.in_mesh {
            in_mesh.guarded = true;
            self.shared.subjects.note_guarded(&self.uid);
        }
    }

    /// Says so, as a count of nothing would be taken for the truth.
    fn note_unguarded(&mut self, why: Option<String>) {
        let Some(in_mesh) = &mut self.in_mesh else { return };
        let told = why.map(|why| format!("what leaves the pod past ztunnel is not counted: {why}"));
        if in_mesh.oddities.unguarded != told {
            in_mesh.oddities.unguarded = told;
            self.report_oddities();
        }
    }
}
