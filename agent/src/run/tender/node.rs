//! Which contract a pod is enrolled by, and what differs by that.

use std::os::fd::AsFd as _;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use weir_netdetect::choose::Contract;

use super::capture::is_captured;
use super::{Shared, TendError, Tender};
use crate::run::config::ContractMode;

impl Tender {
    /// A captured pod stays as it is, whichever ztunnel comes or goes.
    pub(super) fn contract(&self, cookie: u64) -> Result<Contract, TendError> {
        match self.shared.contract {
            ContractMode::InPod => return Ok(Contract::InPod),
            ContractMode::Node => return Ok(Contract::Node),
            ContractMode::Auto => {}
        }
        if let Some(contract) = self.shared.enroller.captured_by(cookie)? {
            return Ok(contract);
        }
        let connected = self.shared.zds.is_connected();
        Ok(automatic(connected, self.shared.has_node_ztunnel()))
    }

    /// Says whether the pod was not captured before.
    pub(super) async fn begin_redirect(&mut self) -> Result<bool, TendError> {
        let Some(in_mesh) = &mut self.in_mesh else {
            return Ok(false);
        };
        let first = !in_mesh.captured;
        let captures = is_captured(&self.shared.enroller, in_mesh)?;
        if let Some(enrolled) = in_mesh.enrolled.clone().filter(|_| !captures) {
            let (enroller, netns) = (self.shared.enroller.clone(), in_mesh.netns.clone());
            let work = move || enroller.redirect(netns.as_fd(), enrolled.netns, &enrolled.addresses);
            spawn_blocking(work).await??;
        }
        in_mesh.captured = true;
        Ok(first)
    }
}

impl Shared {
    fn has_node_ztunnel(&self) -> bool {
        let ztunnels = self.node_ztunnels.as_ref();
        ztunnels.is_some_and(|ztunnels| ztunnels.borrow().current.is_some())
    }
}

/// Waits until another ztunnel takes new connections.
pub(super) async fn changed<T>(ztunnels: &mut Option<watch::Receiver<T>>) {
    if let Some(ztunnels) = ztunnels
        && ztunnels.changed().await.is_ok()
    {
        return;
    }
    // Nobody looks for any, or the agent ends.
    std::future::pending::<()>().await;
}

/// A ztunnel that has connected counts more than one that merely listens somewhere.
const fn automatic(connected: bool, listens: bool) -> Contract {
    if listens && !connected {
        Contract::Node
    } else {
        Contract::InPod
    }
}

#[cfg(test)]
mod tests {
    use super::{Contract, automatic};

    #[test]
    fn the_contract_follows_from_the_ztunnel_that_is_there() {
        assert_eq!(automatic(true, false), Contract::InPod);
        assert_eq!(automatic(true, true), Contract::InPod);
        assert_eq!(automatic(false, true), Contract::Node);
        assert_eq!(
            automatic(false, false),
            Contract::InPod,
            "pods wait as they always did"
        );
    }
}
