//! Keeps instances of programs ready for pods that the container runtime will tell of.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::warn;

use crate::datapath::Datapath;

/// Pods that start have the machine to themselves: nothing is made until none has for so long.
const QUIET: Duration = Duration::from_secs(1);

/// Fills the stock whenever pods have used of it.
pub(super) async fn keep(datapath: Arc<Datapath>, guards: bool) {
    loop {
        let taken = datapath.instances_taken();
        sleep(QUIET).await;
        if datapath.instances_taken() != taken {
            continue;
        }
        let stocked = datapath.clone();
        match spawn_blocking(move || stocked.restock(guards)).await {
            Ok(Ok(())) => {}
            // Pods load theirs themselves, and say what is wrong.
            Ok(Err(error)) => warn!(%error, "nothing is kept ready for pods that start"),
            // The runtime ends.
            Err(_) => return,
        }
        if datapath.instances_taken() == taken {
            datapath.instance_taken().await;
        }
    }
}
