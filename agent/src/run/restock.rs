//! Keeps instances of programs ready for pods that come into the mesh.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::warn;

use crate::datapath::Datapath;

/// Pods that come together have the machine to themselves: nothing is made until none has come for so long.
const QUIET: Duration = Duration::from_millis(50);

/// Of each kind, where the container runtime waits for pods. Kubelet starts a handful at a time, and many more after a
/// reboot only; each one kept takes some 16 KiB of the kernel's memory.
const FOR_STARTS: usize = 64;
/// Where pods run already when they come, and nobody waits.
const FOR_LABELS: usize = 8;

/// Fills the stock whenever pods have used of it.
pub(super) async fn keep(datapath: Arc<Datapath>, guards: bool, starts: bool) {
    let wanted = if starts {
        FOR_STARTS
    } else {
        // There may never be a pod that needs one.
        datapath.instance_taken().await;
        FOR_LABELS
    };
    loop {
        let taken = datapath.instances_taken();
        sleep(QUIET).await;
        if datapath.instances_taken() != taken {
            continue;
        }
        let stocked = datapath.clone();
        match spawn_blocking(move || stocked.restock(guards, wanted)).await {
            Ok(Ok(())) => {}
            // Pods load theirs themselves, and say what is wrong.
            Ok(Err(error)) => warn!(%error, "nothing is kept ready for pods that come"),
            // The runtime ends.
            Err(_) => return,
        }
        if datapath.instances_taken() == taken {
            datapath.instance_taken().await;
        }
    }
}
