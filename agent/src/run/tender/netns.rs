//! Where a pod's network namespace is found.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{TendError, Tender};
use crate::enroll::{addresses, netlink};
use crate::inside;
use crate::pods::netns::{FindError, Netns, NetnsId, ProcIndex, Walks};
use crate::pods::pod::{Phase, Pod};
use crate::run::release::SharedNetns;

impl Tender {
    /// The one that the runtime handed over; else where the source says; else that of the pod's processes.
    pub(super) async fn netns(&self, pod: &Pod) -> Result<SharedNetns, TendError> {
        if let Some(sandbox) = self.shared.sandboxes.get(&self.uid) {
            return Ok(sandbox.netns);
        }
        let (pod, host, walks) = (pod.clone(), self.shared.host, self.shared.walks.clone());
        let lost = self.shared.sandboxes.lost(&self.uid);
        spawn_blocking(move || {
            let netns = look(&pod, host, &walks)?;
            match lost {
                Some(lost) if inside::cookie(netns.as_fd()).is_ok_and(|cookie| cookie == lost) => {
                    Err(TendError::NoSandbox)
                }
                _ => Ok(Arc::new(netns.into())),
            }
        })
        .await?
    }
}

fn look(pod: &Pod, host: NetnsId, walks: &Walks) -> Result<Netns, TendError> {
    if let Some(path) = &pod.netns {
        return Ok(Netns::open(path, host)?);
    }
    match in_proc(pod, host, &*walks.index()?) {
        Err(FindError::NoProcess { .. }) if pod.phase == Phase::Pending => Err(TendError::NotStarted),
        Err(FindError::NoProcess { .. }) if pod.phase == Phase::Ending => Err(TendError::Ended),
        found => Ok(found?),
    }
}

/// By the uid that its cgroups are named by.
fn in_proc(pod: &Pod, host: NetnsId, index: &ProcIndex) -> Result<Netns, FindError> {
    let holds = |netns: &Netns| holds_one_of(netns, &pod.addresses);
    let found = index.find(&pod.uid, host, holds);
    match (&found, pod.static_uid()) {
        // What is but claimed is believed only if the address is the pod's.
        (Err(FindError::NoProcess { .. }), Some(uid)) if !pod.addresses.is_empty() => {
            index.find(&uid, host, holds)
        }
        _ => found,
    }
}

/// Without addresses to compare with any netns of the pod's processes is its own.
fn holds_one_of(netns: &Netns, wanted: &[IpAddr]) -> bool {
    let held = || netlink::ask(netns.as_fd(), addresses::read);
    wanted.is_empty() || held().is_ok_and(|held| wanted.iter().any(|address| held.own.contains(address)))
}
