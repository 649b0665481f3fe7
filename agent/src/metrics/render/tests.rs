use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_common::reason::Reason;

use super::render;
use crate::cni_server::Tally as CniTallied;
use crate::datapath::counters::Counts;
use crate::datapath::fill::Fill;
use crate::metrics::{Snapshot, documentation, table};
use crate::pods::pod::{PodName, PodUid};
use crate::report::{Lane, Reports};
use crate::run::keeper::Kept;
use crate::run::registry::{EnrolmentTimes, PodState, PodStatus, Verification};
use crate::run::zds_tally::Tally;
use crate::verify::{Check, Problem};
use crate::zds::ConnectionState;

fn snapshot() -> Snapshot {
    let name = PodName::new("default", "web").unwrap();
    let mut pod = PodStatus::new(PodUid::new("u").unwrap(), name, PodState::Enrolled);
    pod.netns = Some(17);
    pod.warnings = vec!["odd".to_owned(), "odder".to_owned()];
    pod.uncaptured = vec!["connections to eth0".to_owned()];
    pod.verified = Some(Verification {
        at: SystemTime::now(),
        problems: vec![Problem::new(Check::Routing, "gone")],
        mended: vec![Problem::new(Check::Sysctls, "off")],
    });
    let mut counts = Counts::default();
    counts.add(Reason::Outbound, 5);
    Snapshot {
        started: UNIX_EPOCH + Duration::from_millis(1500),
        ready: true,
        source_up: false,
        pods: vec![pod],
        failures: 3,
        times: EnrolmentTimes {
            buckets: [0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
            count: 1,
            sum: Duration::from_millis(4),
        },
        connections: counts.clone(),
        by_pod: Some([(17, counts)].into()),
        ztunnels: vec![ConnectionState::Live],
        kept: vec![Kept {
            name: "istio-system/ztunnel".to_owned(),
            listening: true,
            current: true,
            complaint: None,
            connected: None,
        }],
        zds: Tally {
            connects: 2,
            disconnects: 1,
            refusals: 0,
            acks: 4,
            nacks: 6,
        },
        cni: CniTallied::default(),
        maps: vec![Fill {
            map: "weir_pods",
            entries: 1,
            capacity: 1024,
        }],
        reports: Lane::ALL.map(|lane| (lane, Reports::default())),
        trace_listeners: 0,
    }
}

#[test]
fn a_snapshot_is_told() {
    let text = render(&snapshot());
    for line in [
        "weir_start_time_seconds 1.5",
        "weir_ready 1",
        "weir_source_up 0",
        "weir_pods{state=\"enrolled\"} 1",
        "weir_pods{state=\"failed\"} 0",
        "weir_enrolment_failures_total 3",
        "weir_enrolment_seconds_bucket{le=\"0.002\"} 0",
        "weir_enrolment_seconds_bucket{le=\"0.005\"} 1",
        "weir_enrolment_seconds_sum 0.004",
        "weir_annotation_warnings 2",
        "weir_pods_not_captured 1",
        "weir_node_ztunnels{state=\"current\"} 1",
        "weir_node_ztunnels{state=\"listening\"} 0",
        "weir_connections_total{verdict=\"redirected\",reason=\"outbound\"} 5",
        "weir_connections_total{verdict=\"refused\",reason=\"no_listener\"} 0",
        "weir_pod_connections_total{namespace=\"default\",pod=\"web\",reason=\"outbound\"} 5",
        "weir_verification_failures{check=\"routing\"} 1",
        "weir_verification_failures{check=\"sysctls\"} 0",
        "weir_zds_connections{state=\"live\"} 1",
        "weir_zds_nacks_total 6",
        "weir_map_entries{map=\"weir_pods\"} 1",
        "weir_map_capacity{map=\"weir_pods\"} 1024",
    ] {
        assert!(
            text.lines().any(|other| other == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn every_metric_of_the_table_is_written_and_no_other() {
    let text = render(&snapshot());
    let written: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let names: Vec<&str> = table::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(written, names);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn pods_are_named_only_when_that_is_wanted() {
    let mut snapshot = snapshot();
    snapshot.by_pod = None;
    assert!(!render(&snapshot).contains("weir_pod_connections_total"));
}

/// With `WEIR_BLESS` set the page is written instead of compared.
#[test]
fn the_page_is_in_step_with_the_tables() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(&page, documentation()).unwrap();
    }
    let found = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        found == documentation(),
        "docs/metrics.md is out of step: run WEIR_BLESS=1 cargo test -p weir-agent the_page_is_in_step"
    );
}
