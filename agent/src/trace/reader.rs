//! Reads the ring and hands its records on.

use std::sync::Arc;

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;
use tracing::warn;

use super::clock::Clock;
use super::decision::{command, decision, parse};
use crate::api::trace::TraceLine;
use crate::run::registry::Registry;

/// Hands decisions to all who listen, until it is dropped.
pub(super) struct Reader {
    ring: AsyncFd<RingBuf<MapData>>,
    registry: Registry,
    lines: broadcast::Sender<Arc<TraceLine>>,
}

impl Reader {
    pub(super) const fn new(
        ring: AsyncFd<RingBuf<MapData>>,
        registry: Registry,
        lines: broadcast::Sender<Arc<TraceLine>>,
    ) -> Self {
        Self {
            ring,
            registry,
            lines,
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
            // Anew each time, as the time of day may have been set.
            let clock = match Clock::read() {
                Ok(clock) => clock,
                Err(error) => {
                    warn!(%error, "the clock cannot be read: decisions are not shown any more");
                    return;
                }
            };
            while let Some(record) = ready.get_inner_mut().next() {
                let Some(event) = parse(&record) else { continue };
                if event.untold > 0 {
                    let count = event.untold.into();
                    tell(&self.lines, TraceLine::Lost { count });
                }
                let pod = self.registry.name_in(event.netns).map(|name| name.to_string());
                let decision = decision(&event, clock, pod, command(event.process));
                tell(&self.lines, TraceLine::Decision(decision));
            }
            ready.clear_ready();
        }
    }
}

fn tell(lines: &broadcast::Sender<Arc<TraceLine>>, line: TraceLine) {
    // The last one may just have left.
    lines.send(Arc::new(line)).ok();
}
