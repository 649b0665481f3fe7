//! A network namespace whose descriptor is gone. Alone in its process: nobody may take the number meanwhile.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

#[path = "zds/fixtures.rs"]
#[expect(dead_code, reason = "shared with the other tests of the server")]
mod fixtures;
#[path = "zds/ztunnel.rs"]
#[expect(dead_code, reason = "shared with the other tests of the server")]
mod ztunnel;

use std::os::fd::AsRawFd;
use std::time::Duration;

use fixtures::{Fixture, pod, pod_status};
use weir_agent::zds::AddError;
use ztunnel::Ztunnel;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_descriptor_is_gone_holds_up_nobody() {
    // No second attempt: the next pod may get the number.
    let fixture = Fixture::start_with(|config| config.first_retry = Duration::from_secs(3600));
    let ztunnel = Ztunnel::live(&fixture.directory.socket(), &[]);
    let gone = pod("a");
    // Never dropped, so the number is closed once only.
    std::mem::forget(gone.netns.clone());
    let number = gone.netns.as_raw_fd();
    nix::unistd::close(number).unwrap();

    let error = fixture.server.add(gone).await.unwrap_err();
    assert!(
        matches!(&error, AddError::Nacked { error, .. } if error.contains("handed over")),
        "{error}"
    );
    let (acked, nack) = pod_status(&fixture.server.status(), "a");
    assert!(!acked && nack.is_some());
    let added = fixture.add("b");
    ztunnel.takes_add("b");
    added.get().await.unwrap();
}
