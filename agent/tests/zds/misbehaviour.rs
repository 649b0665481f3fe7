//! Peers that break the protocol: their connection ends, nobody else's does.
use std::time::Duration;

use weir_agent::zds::{AddError, ZdsEvent};

use crate::fixtures::Fixture;
use crate::ztunnel::Ztunnel;

fn error_of(event: ZdsEvent) -> String {
    match event {
        ZdsEvent::Refused { error, .. } | ZdsEvent::Disconnected { error, .. } => error,
        other => panic!("not the end of a connection: {other:?}"),
    }
}

const fn is_end(event: &ZdsEvent) -> bool {
    matches!(event, ZdsEvent::Refused { .. } | ZdsEvent::Disconnected { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_hellos_end_the_connection() {
    let mut fixture = Fixture::start();
    let huge = vec![0x0a; 20_000];
    let table: [(&[u8], &str); 6] = [
        (b"\x08\x02", "version 2"),
        (b"\x12\x01x", "version 0"),
        (b"\x0a\x01x", "wrong type"),
        (b"\xff\xff\xff", "middle of a field"),
        (b"GET / HTTP/1.1\r\n", "not a ZDS message"),
        (&huge, "20000 bytes"),
    ];
    for (datagram, words) in table {
        let ztunnel = Ztunnel::connect(&fixture.directory.socket());
        ztunnel.send(datagram);
        ztunnel.sees_end();
        let error = error_of(fixture.event().await);
        assert!(error.contains(words), "{error}");
    }
    Ztunnel::live(&fixture.directory.socket(), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hello_in_time_ends_the_connection() {
    let mut fixture = Fixture::start_with(|config| config.hello_timeout = Duration::from_millis(30));
    let ztunnel = Ztunnel::connect(&fixture.directory.socket());
    ztunnel.sees_end();
    assert!(error_of(fixture.event().await).contains("no hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_in_time_ends_the_connection_and_the_pod_is_told_to_the_next() {
    let mut fixture = Fixture::start_with(|config| config.ack_timeout = Duration::from_millis(100));
    let silent = Ztunnel::live(&fixture.directory.socket(), &[]);
    let added = fixture.add("a");
    silent.sees_add("a");
    assert!(matches!(added.get().await, Err(AddError::Deadline { .. })));
    silent.sees_end();
    let error = error_of(fixture.event_like(is_end).await);
    assert!(error.contains("no answer to add"), "{error}");
    Ztunnel::live(&fixture.directory.socket(), &["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_add_has_a_deadline_of_its_own() {
    let fixture = Fixture::start_with(|config| config.add_timeout = Duration::from_millis(50));
    let slow = Ztunnel::live(&fixture.directory.socket(), &[]);
    let added = fixture.add("a");
    slow.sees_add("a");
    assert!(matches!(added.get().await, Err(AddError::Deadline { .. })));
    // Late, but the connection is good.
    slow.ack();
    let removed = fixture.remove("a");
    slow.sees_del("a");
    slow.ack();
    removed.get().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_for_an_answer_ends_the_connection() {
    let mut fixture = Fixture::start();
    let huge = vec![0x0a; 20_000];
    let table: [(&[u8], &str); 4] = [
        (b"\x0a\x05\x0a", "middle of a field"),
        (b"\x08\x01", "wrong type"),
        (b"\x12\x01x", "no acknowledgement"),
        (&huge, "20000 bytes"),
    ];
    for (datagram, words) in table {
        let ztunnel = Ztunnel::live(&fixture.directory.socket(), &[]);
        let added = fixture.add("a");
        ztunnel.sees_add("a");
        ztunnel.send(datagram);
        ztunnel.sees_end();
        assert!(matches!(added.get().await, Err(AddError::Disconnected { .. })));
        let error = error_of(fixture.event_like(is_end).await);
        assert!(error.contains(words), "{error}");
        fixture.remove("a").get().await.unwrap();
    }
    assert!(
        fixture
            .server
            .status()
            .last_disconnect
            .unwrap()
            .contains("20000 bytes")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_nobody_asked_for_ends_the_connection() {
    let mut fixture = Fixture::start();
    let ztunnel = Ztunnel::live(&fixture.directory.socket(), &[]);
    fixture
        .event_like(|event| matches!(event, ZdsEvent::Live { .. }))
        .await;
    ztunnel.ack();
    ztunnel.sees_end();
    assert!(error_of(fixture.event_like(is_end).await).contains("nothing was asked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_answer_is_never_taken_for_the_next_pods() {
    let mut fixture = Fixture::start_with(|config| config.max_connections = 1);
    for uid in ["a", "b"] {
        fixture.add(uid).get().await.unwrap_err();
    }
    let first = Ztunnel::live(&fixture.directory.socket(), &["a", "b"]);
    // The one place is taken: both answers are there before the first request is, and must not count for a and b.
    let ztunnel = Ztunnel::connect(&fixture.directory.socket());
    for datagram in [&b"\x08\x01"[..], b"\x0a\x00", b"\x0a\x00"] {
        ztunnel.send(datagram);
    }
    drop(first);
    fixture.event_like(is_end).await;
    ztunnel.sees_end();
    assert!(matches!(fixture.event().await, ZdsEvent::Connected { .. }));
    assert!(error_of(fixture.event().await).contains("nothing was asked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_marker_ends_the_connection() {
    let mut fixture = Fixture::start();
    let ztunnel = Ztunnel::hello(&fixture.directory.socket());
    ztunnel.sees_marker();
    ztunnel.nack("no");
    ztunnel.sees_end();
    assert!(error_of(fixture.event_like(is_end).await).contains("refused the snapshot: no"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ztunnel_that_goes_is_noticed_at_once() {
    let mut fixture = Fixture::start();
    let idle = Ztunnel::live(&fixture.directory.socket(), &[]);
    fixture
        .event_like(|event| matches!(event, ZdsEvent::Live { .. }))
        .await;
    drop(idle);
    fixture.event_like(is_end).await;

    let busy = Ztunnel::live(&fixture.directory.socket(), &[]);
    let added = fixture.add("a");
    busy.sees_add("a");
    drop(busy);
    assert!(matches!(added.get().await, Err(AddError::Disconnected { .. })));

    let in_snapshot = Ztunnel::hello(&fixture.directory.socket());
    in_snapshot.sees_add("a");
    drop(in_snapshot);
    fixture.event_like(is_end).await;
    Ztunnel::live(&fixture.directory.socket(), &["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mute_peer_holds_up_nobody() {
    let fixture = Fixture::start();
    let _says_nothing = Ztunnel::connect(&fixture.directory.socket());
    let ztunnel = Ztunnel::live(&fixture.directory.socket(), &[]);
    let _says_nothing_either = Ztunnel::connect(&fixture.directory.socket());
    let added = fixture.add("a");
    ztunnel.takes_add("a");
    added.get().await.unwrap();
}
