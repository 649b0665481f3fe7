//! The worker that writes.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::lane::{Outcome, Turn};
use super::plan::{Plan, Write};
use super::tally::ReportTally;
use crate::api_server::{ApiError, ApiServer};
use crate::pods::source::kubernetes::{NodeName, Redirections};
use crate::run::registry::Registry;

/// Changes that come together are looked at together.
const DAMPING: Duration = Duration::from_millis(100);
/// How long the end of the agent may wait for the API server.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// Reports on pods.
#[derive(Debug)]
pub struct Reporter {
    server: ApiServer,
    node: NodeName,
    registry: Registry,
    redirections: watch::Receiver<Redirections>,
    plan: Plan,
    tally: ReportTally,
}

impl Reporter {
    /// Reports on the pods of `registry`, as far as the source of `redirections` knows them; nothing happens until
    /// [`run`](Self::run).
    #[must_use]
    pub fn new(
        server: ApiServer,
        node: NodeName,
        registry: Registry,
        redirections: watch::Receiver<Redirections>,
        tally: ReportTally,
    ) -> Self {
        Self {
            plan: Plan::new(Instant::now(), server.patience()),
            server,
            node,
            registry,
            redirections,
            tally,
        }
    }

    /// Until the source ends.
    pub async fn run(mut self) {
        let mut changes = self.registry.changes();
        loop {
            changes.borrow_and_update();
            let redirections = self.redirections.borrow_and_update().clone();
            let pods = self.registry.pods();
            let (writes, next) = self.plan.due(Instant::now(), &pods, &redirections);
            if !writes.is_empty() {
                for write in writes {
                    self.carry_out(write).await;
                }
                // What was written, or not, decides what is next.
                sleep(DAMPING).await;
                continue;
            }
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = changes.changed() => {}
                changed = self.redirections.changed() => if changed.is_err() { return },
                () = due => {}
            }
            sleep(DAMPING).await;
        }
    }

    async fn carry_out(&mut self, write: Write) {
        if !self.plan.is_open(Instant::now(), &write) {
            return;
        }
        let written = self.write(&write).await;
        let (lane, outcome) = (write.lane(), Outcome::of(&written));
        self.tally.note(lane, written.is_ok());
        let turn = self.plan.note(Instant::now(), &write, &outcome);
        match (turn, written) {
            (_, Err(error)) if matches!(outcome, Outcome::Invalid) => {
                warn!(%error, report = lane.name(), "a report was not accepted");
            }
            (Turn::Closed, Err(error)) => {
                warn!(%error, report = lane.name(), "what happens to pods cannot be reported; trying again");
            }
            (Turn::Opened, _) => info!(report = lane.name(), "what happens to pods is reported again"),
            (_, Err(error)) => debug!(%error, report = lane.name(), "not written"),
            (Turn::None | Turn::Closed, Ok(())) => {}
        }
    }

    async fn write(&self, write: &Write) -> Result<(), ApiError> {
        match write {
            Write::Annotation(annotation) => annotation.write(&self.server).await,
            Write::Event(event) => event.write(&self.server, &self.node).await,
        }
    }
}
