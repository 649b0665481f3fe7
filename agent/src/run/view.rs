//! What the agent's own servers look at.

use std::sync::Arc;
use std::time::SystemTime;

use super::config::AgentConfig;
use super::health::Health;
use super::keeper::KeptList;
use super::node::Node;
use super::registry::Registry;
use super::subjects::Subjects;
use super::zds_tally::ZdsTally;
use crate::cni_server::CniTally;
use crate::datapath::Datapath;
use crate::pods::source::{PodSource, SourceStatus};
use crate::report::ReportTally;
use crate::trace::Tracer;
use crate::wiring::Wiring;
use crate::zds::ZdsServer;

/// The running agent, to be looked at; clones see the same.
#[derive(Clone)]
pub struct View {
    /// Its configuration.
    pub config: Arc<AgentConfig>,
    /// Since when it runs.
    pub started: SystemTime,
    /// Its programs and maps.
    pub datapath: Arc<Datapath>,
    /// The node it runs on.
    pub node: Arc<Node>,
    /// What it knows of each pod.
    pub registry: Registry,
    /// The pods that are captured.
    pub subjects: Subjects,
    /// The server for ztunnel.
    pub zds: ZdsServer,
    /// What happened on ztunnel's connections.
    pub zds_tally: ZdsTally,
    /// What CNI plugins have asked.
    pub cni: CniTally,
    /// What is wrong with parts that go on trying.
    pub health: Health,
    /// Ztunnels that have their sockets in their own namespaces.
    pub kept: KeptList,
    /// How the source of pods is doing.
    pub source: PodSource,
    /// What was said of pods in the cluster.
    pub reports: ReportTally,
    /// How the node and its pods are connected.
    pub wiring: Wiring,
    /// Who listens to the kernel side's decisions.
    pub tracer: Tracer,
}

impl View {
    /// What is missing before the agent does its work; nothing once it is ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = missing(
            self.datapath.pins().exist(),
            self.registry.has_begun(),
            self.source_error(),
        );
        missing.extend(self.health.troubles());
        missing
    }

    /// What is wrong with the source of pods.
    #[must_use]
    pub fn source_error(&self) -> Option<String> {
        match &*self.source.status.borrow() {
            SourceStatus::Failed { error, .. } => Some(error.to_string()),
            SourceStatus::Pending | SourceStatus::Ok { .. } => None,
        }
    }
}

fn missing(pinned: bool, begun: bool, source_error: Option<String>) -> Vec<String> {
    let mut missing = Vec::new();
    if !pinned {
        missing.push("the data plane: its pins are gone; restart the agent".to_owned());
    }
    if !begun {
        let why = source_error.map_or_else(String::new, |error| format!(": {error}"));
        missing.push(format!("the first list of pods{why}"));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(missing(true, true, Some("stale".to_owned())), [""; 0]);
        assert_eq!(missing(true, false, None), ["the first list of pods"]);
        assert_eq!(
            missing(true, false, Some("no file".to_owned())),
            ["the first list of pods: no file"]
        );
        assert_eq!(missing(false, true, None).len(), 1);
    }
}
