//! One pod's line.

use weir_common::reason::Verdict;
use weir_netdetect::choose::{Contract, Path};

use crate::api::status::{PodSummary, Problem, ReasonCount, Verdicts, Verified};
use crate::datapath::counters::Counts;
use crate::enroll::Way;
use crate::run::registry::{PodState, PodStatus, Verification};
use crate::verify;

/// How the pod's own connections are captured.
fn path(pod: &PodStatus) -> Path {
    match (&pod.way, pod.contract) {
        (Some(way), _) => way.outbound,
        (None, Contract::InPod) => Path::Socket,
        (None, Contract::Node) => Path::Tc,
    }
}

/// Why the pod is in the state that it is in.
#[must_use]
pub fn why(pod: &PodStatus) -> String {
    let node = (pod.contract == Contract::Node)
        .then_some(pod.way.as_ref())
        .flatten();
    match (&pod.state, node) {
        (PodState::Enrolled, Some(way)) => on_node(way),
        (state, _) => state.why().to_owned(),
    }
}

/// With a ztunnel in a namespace of its own each direction has a path of its own.
fn on_node(way: &Way) -> String {
    let Way {
        interface,
        outbound,
        inbound,
        why,
    } = way;
    match (outbound.captures(), inbound.captures()) {
        (true, true) if outbound == inbound => format!("captured by the {outbound} path: {why}"),
        (true, true) => {
            format!("captured by the {outbound} path, what comes in by the {inbound} path: {why}")
        }
        (true, false) => format!("captured by the {outbound} path, what comes in is not: {why}"),
        (false, true) => format!("what comes in is captured by the {inbound} path, the rest is not: {why}"),
        (false, false) => format!("not captured by {interface}, its first interface: {why}"),
    }
}

/// What the list tells of a pod.
#[must_use]
pub fn summary(pod: &PodStatus, counts: Option<&Counts>) -> PodSummary {
    PodSummary {
        uid: pod.uid.to_string(),
        namespace: pod.name.namespace().to_owned(),
        name: pod.name.name().to_owned(),
        state: pod.state.name().to_owned(),
        since: pod.since.into(),
        path: (pod.state == PodState::Enrolled).then(|| path(pod).name().to_owned()),
        interface: pod.way.as_ref().map(|way| way.interface.clone()),
        why: why(pod),
        netns: pod.netns,
        addresses: pod.addresses.clone(),
        connections: counts.map(verdicts).unwrap_or_default(),
        warnings: pod.warnings.clone(),
        not_captured: pod.uncaptured.clone(),
        attempts: pod.attempts,
        verified: pod.verified.as_ref().map(verified),
    }
}

/// How a verification ended.
#[must_use]
pub fn verified(verification: &Verification) -> Verified {
    Verified {
        at: verification.at.into(),
        problems: verification.problems.iter().map(problem).collect(),
        mended: verification.mended.iter().map(problem).collect(),
    }
}

/// A problem, as it is told.
#[must_use]
pub fn problem(problem: &verify::Problem) -> Problem {
    Problem {
        check: problem.check.name().to_owned(),
        detail: problem.detail.clone(),
    }
}

/// Counts by what happened.
#[must_use]
pub fn verdicts(counts: &Counts) -> Verdicts {
    Verdicts {
        redirected: counts.with(Verdict::Redirected),
        passed: counts.with(Verdict::Passed),
        refused: counts.with(Verdict::Refused),
        failed: counts.with(Verdict::Failed),
    }
}

/// Counts by reason, with what each means.
#[must_use]
pub fn reasons(counts: &Counts) -> Vec<ReasonCount> {
    counts
        .iter()
        .map(|(reason, count)| ReasonCount {
            reason: reason.name().to_owned(),
            verdict: reason.verdict().name().to_owned(),
            count,
            help: reason.help().to_owned(),
        })
        .collect()
}
