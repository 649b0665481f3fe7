//! Peers that connect more often than any ztunnel does.
use std::time::Duration;

use crate::fixtures::Fixture;
use crate::ztunnel::Ztunnel;

#[tokio::test(flavor = "multi_thread")]
async fn after_two_hundred_reconnects_a_ztunnel_is_served_as_ever() {
    let fixture = Fixture::start_with(|config| config.max_connections = 4);
    fixture.add("a").get().await.unwrap_err();
    for round in 0..200 {
        let ztunnel = Ztunnel::hello(&fixture.directory.socket());
        if round % 3 == 0 {
            ztunnel.sees_add("a");
        }
        assert!(
            fixture.server.status().connections.len() <= 4,
            "more connections than places"
        );
    }
    Ztunnel::live(&fixture.directory.socket(), &["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_hung_up_before_their_turn_cost_nothing() {
    // Were they counted, the last one would wait for an hour.
    let mut fixture = Fixture::start_with(|config| {
        config.handshake_interval = Duration::from_secs(3600);
        config.handshake_burst = 3;
        config.max_connections = 1;
    });
    let first = Ztunnel::live(&fixture.directory.socket(), &[]);
    // There is one place only: these wait in the backlog until it is free.
    for _ in 0..100 {
        drop(Ztunnel::hello(&fixture.directory.socket()));
    }
    drop(first);
    Ztunnel::live(&fixture.directory.socket(), &[]);
    let refused = std::iter::from_fn(|| fixture.events.try_recv().ok())
        .filter(|event| matches!(event, weir_agent::zds::ZdsEvent::Refused { .. }))
        .count();
    assert_eq!(refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_beyond_the_burst_wait() {
    let fixture = Fixture::start_with(|config| {
        config.handshake_interval = Duration::from_secs(3600);
        config.handshake_burst = 2;
    });
    let _first = Ztunnel::live(&fixture.directory.socket(), &[]);
    let second = Ztunnel::live(&fixture.directory.socket(), &[]);
    let third = Ztunnel::hello(&fixture.directory.socket());
    third.sees_nothing();
    assert_eq!(fixture.server.status().connections.len(), 2);
    let added = fixture.add("a");
    second.takes_add("a");
    added.get().await.unwrap();
}
