//! Writes a snapshot as text.

use weir_common::names::LAYOUT_VERSION;
use weir_common::reason::Reason;

use super::gather::Snapshot;
use super::table::{self, Metric};
use super::text::Text;
use crate::cni_server::{Command, Outcome};
use crate::run::keeper::Kept;
use crate::run::registry::{ENROLMENT_BUCKETS, PodState};
use crate::verify::Check;
use crate::zds::ConnectionState;

/// The text.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut text = Text::default();
    agent(&mut text, snapshot);
    pods(&mut text, snapshot);
    connections(&mut text, snapshot);
    verification(&mut text, snapshot);
    zds(&mut text, snapshot);
    cni(&mut text, snapshot);
    maps(&mut text, snapshot);
    reports(&mut text, snapshot);
    single(
        &mut text,
        &table::TRACE_LISTENERS,
        snapshot.trace_listeners as u64,
    );
    text.finish()
}

fn single(text: &mut Text, metric: &Metric, value: u64) {
    text.family(metric).sample(&[], value);
}

fn agent(text: &mut Text, snapshot: &Snapshot) {
    let layout = LAYOUT_VERSION.to_string();
    text.family(&table::BUILD_INFO)
        .sample(&[env!("CARGO_PKG_VERSION"), &layout], 1);
    text.family(&table::START_TIME)
        .sample(&[], snapshot.start_seconds());
    single(text, &table::READY, snapshot.ready.into());
    single(text, &table::SOURCE_UP, snapshot.source_up.into());
}

fn pods(text: &mut Text, snapshot: &Snapshot) {
    let mut family = text.family(&table::PODS);
    for state in PodState::NAMES {
        family.sample(&[state], snapshot.in_state(state));
    }
    single(text, &table::ENROLMENT_FAILURES, snapshot.failures);
    let times = &snapshot.times;
    text.family(&table::ENROLMENT_SECONDS).histogram(
        ENROLMENT_BUCKETS.into_iter().zip(times.buckets),
        times.sum.as_secs_f64(),
        times.count,
    );
    let warnings: usize = snapshot.pods.iter().map(|pod| pod.warnings.len()).sum();
    single(text, &table::ANNOTATION_WARNINGS, warnings as u64);
    single(text, &table::PODS_NOT_CAPTURED, snapshot.not_captured() as u64);
    let mut family = text.family(&table::NODE_ZTUNNELS);
    for state in Kept::STATES {
        let count = snapshot.kept.iter().filter(|kept| kept.state() == state).count();
        family.sample(&[state], count);
    }
}

/// Every reason is there from the start, so that a rate over it is right from its first connection on.
fn connections(text: &mut Text, snapshot: &Snapshot) {
    let mut family = text.family(&table::CONNECTIONS);
    for &reason in Reason::ALL {
        let labels = [reason.verdict().name(), reason.name()];
        family.sample(&labels, snapshot.connections.of(reason));
    }
    let Some(by_pod) = &snapshot.by_pod else { return };
    let mut family = text.family(&table::POD_CONNECTIONS);
    for pod in &snapshot.pods {
        let counts = pod.netns.and_then(|netns| by_pod.get(&netns));
        for (reason, count) in counts.iter().flat_map(|counts| counts.iter()) {
            family.sample(&[pod.name.namespace(), pod.name.name(), reason.name()], count);
        }
    }
}

fn verification(text: &mut Text, snapshot: &Snapshot) {
    let mut family = text.family(&table::VERIFICATION_FAILURES);
    for check in Check::ALL {
        family.sample(&[check.name()], snapshot.with_problem(check));
    }
}

fn zds(text: &mut Text, snapshot: &Snapshot) {
    let mut family = text.family(&table::ZDS_CONNECTIONS);
    for (state, name) in [
        (ConnectionState::Handshake, "handshake"),
        (ConnectionState::Snapshot, "snapshot"),
        (ConnectionState::Live, "live"),
    ] {
        family.sample(
            &[name],
            snapshot.ztunnels.iter().filter(|other| **other == state).count(),
        );
    }
    single(text, &table::ZDS_CONNECTS, snapshot.zds.connects);
    single(text, &table::ZDS_DISCONNECTS, snapshot.zds.disconnects);
    single(text, &table::ZDS_REFUSALS, snapshot.zds.refusals);
    single(text, &table::ZDS_ACKS, snapshot.zds.acks);
    single(text, &table::ZDS_NACKS, snapshot.zds.nacks);
}

fn reports(text: &mut Text, snapshot: &Snapshot) {
    let mut family = text.family(&table::REPORTS);
    for (lane, reports) in snapshot.reports {
        family.sample(&[lane.name(), "written"], reports.written);
        family.sample(&[lane.name(), "failed"], reports.failed);
    }
}

fn cni(text: &mut Text, snapshot: &Snapshot) {
    let mut family = text.family(&table::CNI_REQUESTS);
    for command in Command::ALL {
        for outcome in Outcome::ALL {
            let count = snapshot.cni.answers.get(&(command, outcome)).copied();
            family.sample(&[command.name(), outcome.name()], count.unwrap_or_default());
        }
    }
    single(text, &table::CNI_MALFORMED, snapshot.cni.malformed);
    let times = &snapshot.cni.adds;
    text.family(&table::CNI_ADD_SECONDS).histogram(
        ENROLMENT_BUCKETS.into_iter().zip(times.buckets),
        times.sum.as_secs_f64(),
        times.count,
    );
}

fn maps(text: &mut Text, snapshot: &Snapshot) {
    let mut family = text.family(&table::MAP_ENTRIES);
    for map in &snapshot.maps {
        family.sample(&[map.map], map.entries);
    }
    let mut family = text.family(&table::MAP_CAPACITY);
    for map in &snapshot.maps {
        family.sample(&[map.map], map.capacity);
    }
}

#[cfg(test)]
mod tests;
