//! Pods that the kernel side still knows although nobody wants them: they went while no agent ran.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::registry::{PodState, Registry};
use crate::datapath::{Datapath, DatapathError, residue};
use crate::enroll::Enroller;

/// Removes orphans. As long as a wanted pod's netns is not known only those whose netns is gone are taken for
/// orphans: letting go of a pod that lives would let its traffic out in clear.
pub(super) fn sweep(
    datapath: &Datapath,
    enroller: &Enroller,
    registry: &Registry,
) -> Result<(), DatapathError> {
    let pods = registry.pods();
    let all_known = pods
        .iter()
        .all(|pod| pod.netns.is_some() || matches!(pod.state, PodState::Left(_)));
    let wanted: BTreeSet<u64> = pods.iter().filter_map(|pod| pod.netns).collect();
    for netns in residue::known_netns(datapath.pins())? {
        if wanted.contains(&netns) || (!all_known && datapath.lookup_attached(netns)?) {
            continue;
        }
        match enroller.release(None, netns) {
            Ok(()) => info!(netns, "removed a pod that is gone"),
            Err(error) => warn!(netns, %error, "a pod that is gone could not be removed"),
        }
    }
    Ok(())
}
