//! Reads what metrics tell, all of it at once.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cni_server;
use crate::datapath::counters::Counts;
use crate::datapath::{DatapathError, fill};
use crate::pods::source::SourceStatus;
use crate::report::{Lane, Reports};
use crate::run::keeper::Kept;
use crate::run::registry::{EnrolmentTimes, PodState, PodStatus};
use crate::run::view::View;
use crate::run::zds_tally::Tally;
use crate::verify::Check;
use crate::zds::ConnectionState;

/// What metrics tell.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the agent started.
    pub started: SystemTime,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether the source of pods is current.
    pub source_up: bool,
    /// All pods.
    pub pods: Vec<PodStatus>,
    /// Attempts to enrol that failed.
    pub failures: u64,
    /// How long enrolments took.
    pub times: EnrolmentTimes,
    /// Connections of all pods, those that have gone too.
    pub connections: Counts,
    /// Connections of each pod, by netns cookie, if they are wanted.
    pub by_pod: Option<BTreeMap<u64, Counts>>,
    /// States of the connected ztunnels.
    pub ztunnels: Vec<ConnectionState>,
    /// Ztunnels with sockets in a namespace of their own.
    pub kept: Vec<Kept>,
    /// What happened on connections of ztunnels.
    pub zds: Tally,
    /// What CNI plugins have asked.
    pub cni: cni_server::Tally,
    /// How full maps are.
    pub maps: Vec<fill::Fill>,
    /// What was said of pods in the cluster.
    pub reports: [(Lane, Reports); Lane::ALL.len()],
    /// Operators that trace.
    pub trace_listeners: usize,
}

impl Snapshot {
    /// Pods in a state.
    #[must_use]
    pub fn in_state(&self, state: &str) -> usize {
        self.pods.iter().filter(|pod| pod.state.name() == state).count()
    }

    /// Enrolled pods of which some connections are not captured.
    #[must_use]
    pub fn not_captured(&self) -> usize {
        let pods = self.pods.iter().filter(|pod| pod.state == PodState::Enrolled);
        pods.filter(|pod| !pod.uncaptured.is_empty()).count()
    }

    /// Enrolled pods whose last verification found this problem.
    #[must_use]
    pub fn with_problem(&self, check: Check) -> usize {
        let has = |pod: &&PodStatus| {
            let problems = pod.verified.iter().flat_map(|verified| &verified.problems);
            pod.state == PodState::Enrolled && problems.into_iter().any(|problem| problem.check == check)
        };
        self.pods.iter().filter(has).count()
    }

    /// The start, in seconds since 1970.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a point in time, not a span")]
    pub fn start_seconds(&self) -> f64 {
        self.started
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64()
    }
}

/// Reads everything.
///
/// # Errors
/// [`DatapathError`] if the kernel's part cannot be read.
pub fn gather(view: &View) -> Result<Snapshot, DatapathError> {
    let (connections, by_pod) = view.datapath.counts()?;
    Ok(Snapshot {
        started: view.started,
        ready: view.missing().is_empty(),
        source_up: matches!(*view.source.status.borrow(), SourceStatus::Ok { .. }),
        pods: view.registry.pods(),
        failures: view.registry.failures(),
        times: view.registry.enrolment_times(),
        connections,
        by_pod: view.config.pod_metrics.then_some(by_pod),
        ztunnels: view
            .zds
            .status()
            .connections
            .iter()
            .map(|connection| connection.state)
            .collect(),
        kept: view.kept.all(),
        zds: view.zds_tally.read(),
        cni: view.cni.read(),
        maps: fill::read(view.datapath.maps())?,
        reports: Lane::ALL.map(|lane| (lane, view.reports.of(lane))),
        trace_listeners: view.tracer.listeners(),
    })
}
