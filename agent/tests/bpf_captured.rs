//! What the kernel side is told of pods that are to be captured.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "a test fails by panicking; each uses its part of what tests share"
)]

mod own_datapath;

use std::sync::Arc;

use own_datapath::OwnDatapath;
use weir_agent::enroll::{EnrollError, Enroller};
use weir_common::pod::PodEntry;

const POD: u64 = 77;

/// Two pods in one network namespace: one is let go while the other waits for ztunnel. Rules and routes go as soon as the
/// last connection has ended, and the look-up has gone already.
#[test]
fn a_pod_that_was_let_go_meanwhile_is_not_captured() {
    let own = OwnDatapath::new("captured");
    let enroller = Enroller::new(Arc::clone(&own.datapath), 1);
    let maps = own.datapath.maps();
    let draining = PodEntry {
        flags: PodEntry::DRAINING,
        sysctls: 0,
    };
    maps.set_pod(POD, draining.into()).unwrap();
    let refused = enroller.capture(POD).unwrap_err();
    assert!(matches!(refused, EnrollError::NotEnrolled), "{refused}");
    assert_eq!(maps.pod(POD).unwrap().unwrap().entry, draining);
}
