//! The verdict on made-up machines.

use super::{Finding, Outcome, Readiness, Report};
use crate::check::FEATURES;
use crate::check::feature::Path;

/// A machine that has everything but these.
fn machine_without(missing: &[&str]) -> Report {
    for name in missing {
        assert!(
            FEATURES.iter().any(|feature| feature.name == *name),
            "{name} is not in the table"
        );
    }
    let finding = |feature: &'static crate::check::Feature| {
        let is_missing = missing.contains(&feature.name);
        let outcome = if is_missing {
            Outcome::missing("not here")
        } else {
            Outcome::ok("")
        };
        Finding { feature, outcome }
    };
    Report::new(FEATURES.iter().map(finding).collect())
}

fn blocked(report: &Report, path: Path) -> &[&'static str] {
    &report
        .paths
        .iter()
        .find(|state| state.path == path)
        .unwrap()
        .blocked_by
}

#[test]
fn a_machine_with_everything_is_ready() {
    let report = machine_without(&[]);
    assert_eq!(report.readiness, Readiness::Ready);
    assert!(report.paths.iter().all(|state| state.blocked_by.is_empty()));
}

#[test]
fn clsact_stands_in_for_tcx_but_something_must_be_there() {
    assert_eq!(machine_without(&["tcx"]).readiness, Readiness::Ready);
    assert_eq!(machine_without(&["clsact"]).readiness, Readiness::Ready);
    let neither = machine_without(&["tcx", "clsact"]);
    assert_eq!(neither.readiness, Readiness::Degraded);
    assert_eq!(blocked(&neither, Path::Node), ["tcx", "clsact"]);
    assert!(blocked(&neither, Path::Socket).is_empty());
}

/// The agent does not start there, whatever its paths would need.
#[test]
fn a_kernel_before_5_15_is_of_no_use() {
    let lacks = ["bpf_get_netns_cookie in sock_ops", "SO_NETNS_COOKIE"];
    let old = machine_without(&lacks);
    assert_eq!(old.readiness, Readiness::Unusable);
    assert_eq!(blocked(&old, Path::Node), lacks);
}

#[test]
fn what_nothing_uses_by_default_is_not_missed() {
    assert_eq!(
        machine_without(&["btf", "CAP_PERFMON"]).readiness,
        Readiness::Ready
    );
}

#[test]
fn without_the_right_to_load_programs_nothing_works() {
    let report = machine_without(&["CAP_BPF"]);
    assert_eq!(report.readiness, Readiness::Unusable);
    assert!(report.paths.iter().all(|state| state.blocked_by == ["CAP_BPF"]));
}
