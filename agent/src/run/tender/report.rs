//! What a pod's task says of it.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{info, warn};
use weir_netdetect::choose::Contract;

use super::{InMesh, TendError, Tender};
use crate::pods::pod::Pod;
use crate::run::registry::PodState;

impl Tender {
    pub(super) fn report_in_mesh(&self, contract: Contract) {
        let Some(InMesh {
            enrolled: Some(enrolled),
            ..
        }) = &self.in_mesh
        else {
            return;
        };
        self.shared.registry.update(&self.uid, |status| {
            status.netns = Some(enrolled.netns);
            status.contract = contract;
            status.addresses = enrolled.addresses.own.iter().copied().collect();
            status.attempts += 1;
        });
        self.report_oddities();
    }

    /// What is new among them is logged.
    pub(super) fn report_oddities(&self) {
        let Some(InMesh {
            enrolled: Some(enrolled),
            oddities,
            ..
        }) = &self.in_mesh
        else {
            return;
        };
        let (told, wiring) = (&enrolled.told, &oddities.wiring);
        let warnings = oddities
            .annotations
            .iter()
            .chain(&told.cautions)
            .chain(&wiring.cautions)
            .chain(&oddities.left);
        let warnings: Vec<_> = warnings.cloned().collect();
        let uncaptured: Vec<_> = told
            .uncaptured
            .iter()
            .chain(&wiring.uncaptured)
            .cloned()
            .collect();
        let way = told.way.clone().or_else(|| wiring.way.clone());
        self.shared.registry.update(&self.uid, |status| {
            let known = status.warnings.iter().chain(&status.uncaptured);
            let known: BTreeSet<_> = known.cloned().collect();
            for warning in warnings.iter().chain(&uncaptured) {
                if !known.contains(warning) {
                    warn!(pod = %self.name, uid = %self.uid, warning, "in the mesh, but");
                }
            }
            status.way = way;
            status.warnings = warnings;
            status.uncaptured = uncaptured;
        });
    }

    pub(super) fn report_enrolled(&mut self, took: Option<Duration>) {
        self.shared.registry.update(&self.uid, |status| {
            status.state = PodState::Enrolled;
            status.attempts = 0;
        });
        if let Some(took) = took {
            self.shared.registry.record_enrolment(took);
            self.news = Some(took);
        }
    }

    /// Logs what nobody has to wait for.
    pub(super) fn log_news(&mut self) {
        if let Some(took) = self.news.take() {
            info!(pod = %self.name, uid = %self.uid, ?took, "enrolled");
        }
    }

    pub(super) fn report_failure(&self, pod: &Pod, error: &TendError) {
        let state = error.state();
        if let PodState::Failed(_) = state {
            self.shared.registry.record_failure();
            warn!(pod = %pod.name, uid = %self.uid, %error, "not enrolled; trying again");
        }
        self.shared
            .registry
            .update(&self.uid, |status| status.state = state);
    }
}
