//! How capturing begins once ztunnel says that it serves the pod.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{InMesh, TendError, Tender};
use crate::enroll::listeners::Repaired;
use crate::enroll::{EnrollError, Enroller};
use crate::inside;
use crate::zds::ConnectionId;

/// Ztunnels whose listeners in a new pod were as they should be. How it makes them is a setting of the whole process, so
/// those in other new pods need not be looked at.
#[derive(Clone, Debug, Default)]
pub(in crate::run) struct Unaided(Arc<Mutex<BTreeSet<ConnectionId>>>);

impl Unaided {
    fn has(&self, ztunnel: Option<ConnectionId>) -> bool {
        ztunnel.is_some_and(|ztunnel| self.lock().contains(&ztunnel))
    }

    fn note(&self, ztunnel: Option<ConnectionId>) {
        self.lock().extend(ztunnel);
    }

    /// A panic elsewhere leaves a whole set behind.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<ConnectionId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tender {
    /// Says whether the pod was not captured before.
    pub(super) async fn begin_capture(&mut self) -> Result<bool, TendError> {
        let Some(in_mesh) = &mut self.in_mesh else {
            return Ok(false);
        };
        let first = !in_mesh.captured;
        let is_new = first && self.shared.sandboxes.is_starting(&self.uid);
        let enroller = &self.shared.enroller;
        let captures = is_captured(enroller, in_mesh)?;
        // Nothing of an earlier ztunnel is noted in a pod that comes.
        if is_new
            && self.shared.unaided.has(in_mesh.served)
            && enroller.has_noted_listeners(in_mesh.cookie)?
        {
            enroller.capture(in_mesh.cookie)?;
        } else {
            let repaired = repair(&self.shared, in_mesh, captures).await?;
            if is_new && repaired == Repaired::Nothing {
                self.shared.unaided.note(in_mesh.served);
            }
        }
        in_mesh.captured = true;
        Ok(first)
    }
}

/// Whether the pod has been captured, and the kernel side still does it: its entry may have been lost and made anew.
pub(super) fn is_captured(enroller: &Enroller, in_mesh: &InMesh) -> Result<bool, EnrollError> {
    Ok(in_mesh.captured && enroller.captured_by(in_mesh.cookie)?.is_some())
}

/// Listeners that were there before the pod was tracked are handed to the kernel side first.
async fn repair(shared: &super::Shared, in_mesh: &InMesh, captures: bool) -> Result<Repaired, TendError> {
    let (enroller, netns, cookie) = (shared.enroller.clone(), in_mesh.netns.clone(), in_mesh.cookie);
    let processes = shared.ztunnels.borrow().clone();
    let work = move || {
        let repaired = enroller.repair_listeners(netns.as_fd(), cookie, &processes)?;
        if !captures {
            enroller.expect_listeners(cookie)?;
            enroller.capture(cookie)?;
        }
        Ok::<_, EnrollError>(repaired)
    };
    let repaired = inside::visit(in_mesh.netns.clone(), work).await;
    Ok(repaired.map_err(EnrollError::from)??)
}
