//! Every metric: the one table behind the text and its documentation.

use weir_common::reason::Reason;

use crate::cni_server;
use crate::report::Lane;
use crate::run::keeper::Kept;
use crate::run::registry::PodState;
use crate::verify::Check;

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up and down.
    Gauge,
    /// Only up, until the agent starts anew.
    Counter,
    /// Counts per bucket.
    Histogram,
}

impl Kind {
    /// The word for it in the text format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+

        /// All of them, in the order in which they are written.
        pub const ALL: &[Metric] = &[$($id),+];
    };
}

metrics! {
    BUILD_INFO = Gauge "weir_build_info" ["version", "layout"] "Always 1; the labels tell the agent's version and that of its pins' layout.";
    START_TIME = Gauge "weir_start_time_seconds" [] "When the agent started, in seconds since 1970.";
    READY = Gauge "weir_ready" [] "1 while the data plane is in place and the first list of pods was taken up.";
    SOURCE_UP = Gauge "weir_source_up" [] "1 while the source of pods is current; 0 when the last good list stays in force.";
    PODS = Gauge "weir_pods" ["state"] "Pods of the node, by how far they are on their way into the mesh.";
    ENROLMENT_FAILURES = Counter "weir_enrolment_failures_total" [] "Attempts to enrol a pod that failed; each is repeated.";
    ENROLMENT_SECONDS = Histogram "weir_enrolment_seconds" [] "Time from the wish to have a pod in the mesh until its connections were captured.";
    ANNOTATION_WARNINGS = Gauge "weir_annotation_warnings" [] "Annotations of pods that say something odd; weir status names them.";
    PODS_NOT_CAPTURED = Gauge "weir_pods_not_captured" [] "Enrolled pods of which some connections are not captured because of how the pod is connected; weir status says which, and what would help.";
    NODE_ZTUNNELS = Gauge "weir_node_ztunnels" ["state"] "Ztunnels with sockets in a network namespace of their own, by whether they take new connections (node contract).";
    CONNECTIONS = Counter "weir_connections_total" ["verdict", "reason"] "Connections, and DNS queries, of enrolled pods, by what happened to them and why. Each verification of a pod adds one per address family.";
    POD_CONNECTIONS = Counter "weir_pod_connections_total" ["namespace", "pod", "reason"] "The same for each pod; only with --pod-metrics.";
    VERIFICATION_FAILURES = Gauge "weir_verification_failures" ["check"] "Enrolled pods whose last verification found this problem and could not mend it.";
    ZDS_CONNECTIONS = Gauge "weir_zds_connections" ["state"] "Connected ztunnels, by how far they are.";
    ZDS_CONNECTS = Counter "weir_zds_connects_total" [] "Connections on which a ztunnel said hello.";
    ZDS_DISCONNECTS = Counter "weir_zds_disconnects_total" [] "Such connections that ended.";
    ZDS_REFUSALS = Counter "weir_zds_refusals_total" [] "Connections that ended before a valid hello.";
    ZDS_ACKS = Counter "weir_zds_acks_total" [] "Pods that a ztunnel said it serves.";
    ZDS_NACKS = Counter "weir_zds_nacks_total" [] "Pods that a ztunnel refused to serve; each is offered again.";
    CNI_REQUESTS = Counter "weir_cni_requests_total" ["command", "outcome"] "Questions of CNI plugins, by what was asked and how it was answered.";
    CNI_MALFORMED = Counter "weir_cni_malformed_total" [] "Questions on the CNI plugin's socket that could not be read.";
    CNI_ADD_SECONDS = Histogram "weir_cni_add_seconds" [] "Time from a CNI plugin's question about a starting pod of the mesh until its connections were captured.";
    MAP_ENTRIES = Gauge "weir_map_entries" ["map"] "Entries of a map of the kernel side.";
    MAP_CAPACITY = Gauge "weir_map_capacity" ["map"] "Entries that the map has room for.";
    REPORTS = Counter "weir_reports_total" ["report", "result"] "Annotations and events that were written to the API server, or could not be; those are written later, unless the pod is gone by then.";
    TRACE_LISTENERS = Gauge "weir_trace_listeners" [] "Operators that weir trace shows decisions to; the kernel side tells them only meanwhile.";
}

/// The values of labels that come from fixed lists.
fn label_values() -> [(&'static str, Vec<&'static str>); 9] {
    [
        ("weir_pods: state", PodState::NAMES.to_vec()),
        (
            "weir_zds_connections: state",
            vec!["handshake", "snapshot", "live"],
        ),
        ("weir_node_ztunnels: state", Kept::STATES.to_vec()),
        (
            "weir_verification_failures: check",
            Check::ALL.iter().map(|check| check.name()).collect(),
        ),
        (
            "weir_cni_requests_total: command",
            cni_server::Command::ALL
                .iter()
                .map(|command| command.name())
                .collect(),
        ),
        (
            "weir_cni_requests_total: outcome",
            cni_server::Outcome::ALL
                .iter()
                .map(|outcome| outcome.name())
                .collect(),
        ),
        (
            "weir_connections_total: verdict",
            vec!["redirected", "passed", "refused", "failed"],
        ),
        (
            "weir_reports_total: report",
            Lane::ALL.iter().map(|lane| lane.name()).collect(),
        ),
        ("weir_reports_total: result", vec!["written", "failed"]),
    ]
}

/// The text of `docs/metrics.md`.
#[must_use]
pub fn documentation() -> String {
    let mut text = "# Metrics\n\n\
        `weir agent` answers `GET /metrics` on its `--http-address` in Prometheus' text format. This page is made from \
        the agent's own tables.\n\n\
        | metric | type | labels | meaning |\n|---|---|---|---|\n"
        .to_owned();
    for metric in ALL {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        text += &format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        );
    }
    text += "\n## Values of labels\n\n| label | values |\n|---|---|\n";
    for (label, values) in label_values() {
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        text += &format!("| {label} | {} |\n", values.join(", "));
    }
    text += "\n## Reasons\n\n| reason | verdict | meaning |\n|---|---|---|\n";
    for reason in Reason::ALL {
        text += &format!(
            "| `{}` | {} | {} |\n",
            reason.name(),
            reason.verdict().name(),
            reason.help()
        );
    }
    text
}
