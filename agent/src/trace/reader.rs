//! Reads the ring and hands its records on.

use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;
use tracing::warn;

use super::clock::Clock;
use super::decision::{command, decision, parse};
use crate::api::trace::Decision;
use crate::run::registry::Registry;

/// Hands decisions to all who listen, until it is dropped.
pub(super) struct Reader {
    ring: AsyncFd<RingBuf<MapData>>,
    clock: Clock,
    registry: Registry,
    decisions: broadcast::Sender<Arc<Decision>>,
}

impl Reader {
    pub(super) const fn new(
        ring: AsyncFd<RingBuf<MapData>>,
        clock: Clock,
        registry: Registry,
        decisions: broadcast::Sender<Arc<Decision>>,
    ) -> Self {
        Self {
            ring,
            clock,
            registry,
            decisions,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let mut ready = match self.ring.readable_mut().await {
                Ok(ready) => ready,
                Err(error) => {
                    warn!(%error, "the ring of events cannot be read any more");
                    return;
                }
            };
            while let Some(record) = ready.get_inner_mut().next() {
                let Some(event) = parse(&record) else { continue };
                let pod = self.registry.name_in(event.netns).map(|name| name.to_string());
                let told = decision(&event, self.clock, pod, command(event.process));
                // The last one may just have left.
                self.decisions.send(Arc::new(told)).ok();
            }
            ready.clear_ready();
        }
    }
}
