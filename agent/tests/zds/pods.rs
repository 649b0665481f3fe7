//! Snapshot, additions and removals with one well-behaved ztunnel.
use weir_agent::zds::protocol::EncodeError;
use weir_agent::zds::{AddError, ConnectionState, RemoveError, ZdsEvent};

use crate::fixtures::{self, Fixture, netns, pod, pod_status, uid};
use crate::ztunnel::Ztunnel;

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_every_wanted_pod_one_request_at_a_time() {
    let fixture = Fixture::start();
    for uid in ["a", "b"] {
        assert_eq!(
            fixture.add(uid).get().await,
            Err(AddError::NoZtunnel {
                uid: fixtures::uid(uid)
            })
        );
    }
    fixture.server.keep(uid("k")).unwrap();

    let ztunnel = Ztunnel::hello(&fixture.directory.socket());
    ztunnel.sees_add("a");
    ztunnel.sees_nothing();
    ztunnel.ack();
    ztunnel.takes_add("b");
    ztunnel.sees_keep("k");
    ztunnel.ack();
    ztunnel.sees_marker();
    ztunnel.sees_nothing();
    ztunnel.ack();
    ztunnel.sees_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn add_returns_when_ztunnel_acknowledged_and_remove_when_it_let_go() {
    let mut fixture = Fixture::start();
    let ztunnel = Ztunnel::live(&fixture.directory.socket(), &[]);
    let ZdsEvent::Connected { peer, connection } = fixture.event().await else {
        panic!("not connected")
    };
    assert_eq!(peer.pid, std::process::id().cast_signed());

    let added = fixture.add("a");
    ztunnel.sees_add("a");
    assert!(!added.is_there(), "returned before the ack");
    ztunnel.ack();
    assert_eq!(added.get().await.unwrap().peer, peer);
    let acked = fixture
        .event_like(|event| matches!(event, ZdsEvent::PodAcked { .. }))
        .await;
    assert_eq!(
        acked,
        ZdsEvent::PodAcked {
            connection,
            uid: uid("a")
        }
    );

    let removed = fixture.remove("a");
    ztunnel.sees_del("a");
    assert!(!removed.is_there(), "returned before the ack");
    ztunnel.ack();
    assert_eq!(removed.get().await.unwrap().acked, 1);
    assert!(fixture.server.status().pods.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_come_and_go_during_the_snapshot_follow_the_marker() {
    let fixture = Fixture::start();
    for uid in ["a", "b"] {
        fixture.add(uid).get().await.unwrap_err();
    }
    let ztunnel = Ztunnel::hello(&fixture.directory.socket());
    ztunnel.sees_add("a");
    let b = uid("b");
    let (new, gone) = (fixture.server.add(pod("c")), fixture.server.remove(&b));
    let script = async {
        ztunnel.ack();
        ztunnel.takes_marker();
        ztunnel.takes_add("c");
        ztunnel.sees_nothing();
    };
    // In this order: both calls are made before ztunnel goes on.
    let (new, gone, ()) = tokio::join!(biased; new, gone, script);
    new.unwrap();
    gone.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_pod_is_told_again_until_it_is_taken() {
    let mut fixture = Fixture::start();
    let ztunnel = Ztunnel::live(&fixture.directory.socket(), &[]);
    let added = fixture.add("a");
    ztunnel.sees_add("a");
    ztunnel.nack("failure to start proxy : Bind");
    let error = added.get().await.unwrap_err();
    assert!(
        matches!(&error, AddError::Nacked { error, .. } if error.contains("Bind")),
        "{error}"
    );

    ztunnel.sees_add("a");
    let status = fixture.server.status();
    assert_eq!(
        pod_status(&status, "a"),
        (false, Some("failure to start proxy : Bind".to_owned()))
    );
    assert_eq!(
        status.connections[0].last_error.as_deref(),
        Some("failure to start proxy : Bind")
    );
    ztunnel.ack();
    fixture
        .event_like(|event| matches!(event, ZdsEvent::PodAcked { .. }))
        .await;
    assert_eq!(pod_status(&fixture.server.status(), "a"), (true, None));
    ztunnel.sees_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_ztunnel_refuses_is_an_error() {
    let fixture = Fixture::start();
    fixture.add("a").get().await.unwrap_err();
    let ztunnel = Ztunnel::live(&fixture.directory.socket(), &["a"]);
    let removed = fixture.remove("a");
    ztunnel.sees_del("a");
    ztunnel.nack("busy");
    assert!(matches!(removed.get().await, Err(RemoveError::Nacked { error, .. }) if error == "busy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_without_a_ztunnel_is_immediate() {
    let fixture = Fixture::start();
    fixture.add("a").get().await.unwrap_err();
    assert_eq!(
        fixture.remove("a").get().await,
        Ok(weir_agent::zds::Removed::default())
    );
    Ztunnel::live(&fixture.directory.socket(), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ztunnel_could_not_read_is_refused_and_forgotten() {
    let fixture = Fixture::start();
    let mut long = pod("a");
    long.name = "n".repeat(1024);
    let error = fixture.server.add(long).await.unwrap_err();
    assert!(
        matches!(error, AddError::Unsendable(EncodeError::TooLong { .. })),
        "{error}"
    );
    Ztunnel::live(&fixture.directory.socket(), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_far_everything_is() {
    let mut fixture = Fixture::start();
    fixture.add("a").get().await.unwrap_err();
    fixture.server.keep(uid("k")).unwrap();
    let ztunnel = Ztunnel::hello(&fixture.directory.socket());
    ztunnel.sees_add("a");
    let status = fixture.server.status();
    let connection = &status.connections[0];
    assert_eq!(
        (connection.state, connection.acked, connection.pending),
        (ConnectionState::Snapshot, 0, 2)
    );
    assert!(connection.newest);
    assert!(!status.pods[&uid("k")].netns_known);

    ztunnel.ack();
    ztunnel.sees_keep("k");
    ztunnel.ack();
    ztunnel.takes_marker();
    fixture
        .event_like(|event| matches!(event, ZdsEvent::Live { .. }))
        .await;
    let status = fixture.server.status();
    let connection = &status.connections[0];
    assert_eq!(
        (connection.state, connection.acked, connection.pending),
        (ConnectionState::Live, 1, 0)
    );
    assert_eq!(pod_status(&status, "a"), (true, None));
    assert_eq!(pod_status(&status, "k"), (false, None));
    assert!(
        serde_json::to_string(&status)
            .unwrap()
            .contains(r#""state":"live""#)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_are_closed_when_a_pod_is_forgotten() {
    let fixture = Fixture::start();
    let ztunnel = Ztunnel::live(&fixture.directory.socket(), &[]);
    let netns = netns();
    let mut workload = pod("a");
    workload.netns = netns.clone();
    let server = fixture.server.clone();
    let added = tokio::spawn(async move { server.add(workload).await });
    ztunnel.takes_add("a");
    added.await.unwrap().unwrap();
    let removed = fixture.remove("a");
    ztunnel.sees_del("a");
    ztunnel.ack();
    removed.get().await.unwrap();
    assert_eq!(std::sync::Arc::strong_count(&netns), 1);
}
