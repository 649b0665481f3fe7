//! The guard of a pod that comes into the mesh. To put a program at an interface is to wait until all CPUs have noticed,
//! some milliseconds in which nobody else changes an interface, so of fifty pods that come at once the last would wait
//! for all of them. What only counts comes when no more pods come; what drops is there before.

use std::os::fd::AsFd as _;

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::warn;
use weir_netdetect::choose::Contract;

use super::Tender;

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
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    warn!(pod = %self.name, %error, "what leaves the pod past ztunnel is not counted yet; trying again");
                    self.wanted_later = Some(Instant::now());
                    return;
                }
                // The runtime ends.
                Err(_) => return,
            }
        }
        if let Some(in_mesh) = &mut self.in_mesh {
            in_mesh.guarded = true;
        }
    }
}
