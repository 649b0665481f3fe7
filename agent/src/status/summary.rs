//! One pod's line.

use weir_common::reason::Verdict;
use weir_netdetect::choose::{Contract, Path};

use crate::api::status::{PodSummary, Problem, ReasonCount, Verdicts, Verified};
use crate::datapath::counters::Counts;
use crate::run::registry::{PodState, PodStatus, Verification};
use crate::verify;

/// How connections are captured.
const fn path(contract: Contract) -> Path {
    match contract {
        Contract::InPod => Path::Socket,
        Contract::Node => Path::Tc,
    }
}

fn why(pod: &PodStatus) -> &str {
    match (&pod.state, pod.contract) {
        (PodState::Enrolled, Contract::Node) => {
            "captured by the tc path: packets are redirected to ztunnel on the node, as they pass the pod's interface"
        }
        (state, _) => state.why(),
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
        path: (pod.state == PodState::Enrolled).then(|| path(pod.contract).name().to_owned()),
        why: why(pod).to_owned(),
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

fn problem(problem: &verify::Problem) -> Problem {
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
