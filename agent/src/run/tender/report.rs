//! What a pod's task says of it.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{info, warn};
use weir_netdetect::choose::Contract;

use super::{InMesh, TendError, Tender};
use crate::pods::pod::Pod;
use crate::run::registry::PodState;

impl Tender {
    pub(super) fn report_in_mesh(&self, contract: Contract, warnings: Vec<String>) {
        let Some(InMesh {
            enrolled: Some(enrolled),
            ..
        }) = &self.in_mesh
        else {
            return;
        };
        let warnings: Vec<_> = warnings
            .into_iter()
            .chain(enrolled.cautions.iter().cloned())
            .collect();
        self.shared.registry.update(&self.uid, |status| {
            status.netns = Some(enrolled.netns);
            status.contract = contract;
            status.way.clone_from(&enrolled.way);
            status.addresses = enrolled.addresses.own.iter().copied().collect();
            let known = status.warnings.iter().chain(&status.uncaptured);
            let known: BTreeSet<_> = known.cloned().collect();
            for warning in warnings.iter().chain(&enrolled.uncaptured) {
                if !known.contains(warning) {
                    warn!(pod = %self.name, uid = %self.uid, warning, "in the mesh, but");
                }
            }
            status.warnings = warnings;
            status.uncaptured.clone_from(&enrolled.uncaptured);
            status.attempts += 1;
        });
    }

    pub(super) fn report_enrolled(&self, pod: &Pod, took: Option<Duration>) {
        self.shared.registry.update(&self.uid, |status| {
            status.state = PodState::Enrolled;
            status.attempts = 0;
        });
        if let Some(took) = took {
            self.shared.registry.record_enrolment(took);
            info!(pod = %pod.name, uid = %self.uid, ?took, "enrolled");
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
