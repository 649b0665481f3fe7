//! Two ztunnels during an upgrade.
use weir_agent::zds::AddError;

use crate::fixtures::Fixture;
use crate::ztunnel::Ztunnel;

#[tokio::test(flavor = "multi_thread")]
async fn adds_go_to_the_newest_and_removals_to_both() {
    let fixture = Fixture::start();
    fixture.add("a").get().await.unwrap_err();
    let old = Ztunnel::live(&fixture.directory.socket(), &["a"]);
    let new = Ztunnel::live(&fixture.directory.socket(), &["a"]);

    let added = fixture.add("b");
    new.takes_add("b");
    added.get().await.unwrap();
    old.sees_nothing();

    let removed = fixture.remove("a");
    old.sees_del("a");
    new.sees_del("a");
    old.ack();
    assert!(!removed.is_there(), "returned before both let go");
    new.ack();
    assert_eq!(removed.get().await.unwrap().acked, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_newest_dies_the_other_is_told_what_it_missed() {
    let fixture = Fixture::start();
    fixture.add("a").get().await.unwrap_err();
    let old = Ztunnel::live(&fixture.directory.socket(), &["a"]);
    let new = Ztunnel::live(&fixture.directory.socket(), &["a"]);
    let added = fixture.add("b");
    new.takes_add("b");
    added.get().await.unwrap();

    drop(new);
    old.takes_add("b");
    old.sees_nothing();
    let added = fixture.add("c");
    old.takes_add("c");
    added.get().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_newest_dies_over_an_add_the_other_gets_it() {
    let fixture = Fixture::start();
    let old = Ztunnel::live(&fixture.directory.socket(), &[]);
    let new = Ztunnel::live(&fixture.directory.socket(), &[]);
    let added = fixture.add("a");
    new.sees_add("a");
    drop(new);
    assert!(matches!(added.get().await, Err(AddError::Disconnected { .. })));
    old.takes_add("a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_newest_does_not_hold_up_removals_from_the_other() {
    let fixture = Fixture::start_with(|config| config.remove_timeout = std::time::Duration::from_millis(200));
    fixture.add("a").get().await.unwrap_err();
    let old = Ztunnel::live(&fixture.directory.socket(), &["a"]);
    let stuck = Ztunnel::live(&fixture.directory.socket(), &["a"]);
    let removed = fixture.remove("a");
    stuck.sees_del("a");
    old.sees_del("a");
    old.ack();
    assert!(removed.get().await.is_err());
    assert!(fixture.server.status().pods.is_empty(), "forgotten all the same");
}
