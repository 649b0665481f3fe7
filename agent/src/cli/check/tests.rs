//! What is printed about made-up machines.

use weir_agent::check::feature::{Capability, Path, Probe};
use weir_agent::check::{Feature, Finding, Outcome, Report};

use super::{Answer, Style, text};

static BPF: Feature = Feature {
    name: "CAP_BPF",
    probe: Probe::Capability(Capability::Bpf),
    needed_by: Path::ALL,
    instead: None,
    costs: "loads programs",
    remedy: "run as root",
};
static LOOKUP: Feature = Feature {
    name: "sk_lookup",
    probe: Probe::SkLookup,
    needed_by: &[Path::Socket],
    instead: None,
    costs: "nothing delivers",
    remedy: "Linux 5.9 or newer",
};
static TCX: Feature = Feature {
    name: "tcx",
    probe: Probe::Tcx,
    needed_by: &[Path::Node, Path::Guard],
    instead: Some("sk_lookup"),
    costs: "order",
    remedy: "Linux 6.6 or newer",
};

fn printed(outcomes: [Outcome; 3]) -> String {
    let findings = [&BPF, &LOOKUP, &TCX].into_iter().zip(outcomes);
    let report = Report::new(
        findings
            .map(|(feature, outcome)| Finding { feature, outcome })
            .collect(),
    );
    text(&Answer::new(&report), Style::PLAIN)
}

#[test]
fn a_degraded_machine() {
    let text = printed([
        Outcome::ok("by CAP_SYS_ADMIN"),
        Outcome::missing("Invalid argument"),
        Outcome::ok(""),
    ]);
    let expected = "\
FEATURE    STATE    WHY               COSTS                            REMEDY
CAP_BPF    ok       by CAP_SYS_ADMIN  -                                -
sk_lookup  missing  Invalid argument  in-pod socket: nothing delivers  Linux 5.9 or newer
tcx        ok       -                 -                                -

PATH                       WORKS  BLOCKED BY
in-pod socket              no     sk_lookup
dns capture                yes    -
in-pod virtual interfaces  yes    -
node tc                    yes    -
node socket                yes    -
node steer                 yes    -
guard                      yes    -
take-over                  yes    -
trace                      yes    -

degraded
";
    assert_eq!(text, expected);
}

#[test]
fn what_another_feature_replaces_costs_no_path() {
    let text = printed([
        Outcome::ok(""),
        Outcome::ok(""),
        Outcome::missing("Invalid argument"),
    ]);
    assert!(
        text.contains("tcx        missing  Invalid argument  order  Linux 6.6 or newer\n"),
        "{text}"
    );
    assert!(text.ends_with("\nready\n"), "{text}");
}

#[test]
fn missing_rights_are_named_and_are_the_remedy_of_what_they_deny() {
    let denied = || Outcome::denied("Operation not permitted");
    let text = printed([denied(), denied(), denied()]);
    assert!(text.contains("everything: loads programs"), "{text}");
    assert!(
        text.contains("in-pod socket: nothing delivers  the missing capabilities, above\n"),
        "{text}"
    );
    assert!(
        text.contains("\nunusable; this process lacks CAP_BPF: run as root"),
        "{text}"
    );
}
