//! Servers that refuse, forget, hang, lie, and are away.

use std::fs;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use weir_testbeds::unique;

use crate::fake::{Fake, Fault, Kind, PATIENCE};
use crate::scene::{NODE, Scene, pod, shop};

#[tokio::test]
async fn a_missing_role_is_named_and_its_grant_noticed() {
    for (kind, watches_only, word) in [
        (Kind::Pod, false, "list pods"),
        (Kind::Namespace, false, "list namespaces"),
        (Kind::Pod, true, "watch pods"),
        (Kind::Namespace, true, "watch namespaces"),
    ] {
        let mut scene = Scene::with(|fake| {
            shop(fake, &["a"]);
            fake.fail(Fault::Refuse {
                kind,
                watches_only,
                code: 403,
            });
        });
        scene.expect_trouble(&["forbids", word, "ClusterRole"]).await;
        scene.fake.fail(None);
        scene.expect(&["a"]).await;
        scene.expect_current().await;
    }
}

/// Not only when it is due by the clock, which may have been set back since it was read.
#[tokio::test]
async fn a_token_that_the_server_refuses_is_read_again() {
    let token = std::env::temp_dir().join(unique::name("token"));
    fs::write(&token, "old").unwrap();
    let fake = Fake::start();
    shop(&fake, &["a"]);
    fake.fail(Fault::AcceptOnly("old"));
    let server = fake.client_with_token(&token);
    let mut scene = Scene::of(fake, server);
    scene.expect(&["a"]).await;
    scene.expect_current().await;
    scene.fake.fail(Fault::AcceptOnly("new"));
    scene
        .expect_trouble(&["does not accept the agent's credentials"])
        .await;
    fs::write(&token, "new").unwrap();
    scene.expect_current().await;
    scene.fake.put(Kind::Pod, pod("b", NODE));
    scene.expect(&["a", "b"]).await;
    fs::remove_file(&token).unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_takes_nobody_out_and_is_taken_up_again() {
    let mut scene = Scene::with(|fake| shop(fake, &["a", "b"]));
    scene.expect(&["a", "b"]).await;
    for round in 0..3 {
        scene.fake.go_away().await;
        assert!(scene.expect_trouble(&["cannot be reached"]).await.is_some());
        scene.expect(&["a", "b"]).await;
        scene.fake.put(Kind::Pod, pod("c", NODE));
        scene.fake.shared.store.remove(Kind::Pod, "shop/a");
        if round == 1 {
            scene.fake.shared.store.compact();
        }
        scene.fake.come_back();
        scene.expect(&["b", "c"]).await;
        scene.expect_current().await;
        scene.fake.put(Kind::Pod, pod("a", NODE));
        scene.fake.shared.store.remove(Kind::Pod, "shop/c");
        scene.expect(&["a", "b"]).await;
    }
}

#[tokio::test]
async fn a_version_that_is_forgotten_is_listed_anew() {
    let mut scene = Scene::with(|fake| shop(fake, &["a", "b", "c"]));
    scene.expect(&["a", "b", "c"]).await;
    // No event ever comes of what happens now.
    scene.fake.fail(Fault::EndWatches);
    scene.fake.shared.store.remove(Kind::Pod, "shop/b");
    scene.fake.put(Kind::Pod, pod("d", NODE));
    scene.fake.shared.store.compact();
    scene.fake.fail(None);
    scene.expect(&["a", "c", "d"]).await;
    scene.expect_current().await;
}

#[tokio::test]
async fn what_is_no_api_server_is_told_apart() {
    let mut scene = Scene::with(|fake| {
        shop(fake, &["a"]);
        fake.fail(Fault::Garbage);
    });
    scene.expect_trouble(&["is it an API server"]).await;
    scene.fake.fail(None);
    scene.expect(&["a"]).await;
    scene.expect_current().await;
}

#[tokio::test]
async fn garbage_in_the_middle_of_a_watch_is_got_over() {
    let mut scene = Scene::with(|fake| shop(fake, &["a"]));
    scene.expect(&["a"]).await;
    scene.fake.fail(Fault::Garbage);
    assert!(scene.expect_trouble(&["cannot be read"]).await.is_some());
    scene.fake.shared.store.remove(Kind::Pod, "shop/a");
    scene.fake.put(Kind::Pod, pod("b", NODE));
    scene.fake.fail(None);
    scene.expect(&["b"]).await;
    scene.expect_current().await;
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_on_and_asked_again() {
    let mut scene = Scene::with(|fake| {
        shop(fake, &["a"]);
        fake.fail(Fault::Hang);
    });
    scene.expect_trouble(&["did not answer within"]).await;
    scene.fake.fail(None);
    scene.expect(&["a"]).await;
    scene.fake.fail(Fault::Hang);
    assert!(scene.expect_trouble(&["did not answer within"]).await.is_some());
    scene.expect(&["a"]).await;
    scene.fake.put(Kind::Pod, pod("b", NODE));
    scene.fake.fail(None);
    scene.expect(&["a", "b"]).await;
    scene.expect_current().await;
}

/// As behind a load balancer that has forgotten the connection: no end, no event.
#[tokio::test]
async fn a_watch_that_falls_silent_is_begun_again() {
    let patience = weir_agent::api_server::Patience {
        watch: Duration::from_secs(3600),
        ..PATIENCE
    };
    let mut scene = Scene::with_patience(patience, |fake| {
        shop(fake, &["a"]);
        fake.fail(Fault::SilentWatches);
    });
    scene.expect(&["a"]).await;
    // Nothing reminds the watches that are under way.
    *scene.fake.shared.fault.lock().unwrap() = None;
    let begun = Instant::now();
    scene.fake.shared.store.put_silently(Kind::Pod, pod("b", NODE));
    scene.expect(&["a", "b"]).await;
    assert!(begun.elapsed() < PATIENCE.silence * 10, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_ends_all_watches_is_not_asked_without_end() {
    let mut scene = Scene::with(|fake| {
        shop(fake, &["a"]);
        fake.fail(Fault::EndWatches);
    });
    scene.expect(&["a"]).await;
    let (before, begun) = (scene.fake.asked().len(), Instant::now());
    // A rate takes a span of time; on a busy machine it is a longer one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = scene.fake.asked().len() - before;
    // Two watches, with pauses of 50 ms or more.
    let most = 2 + 2 * usize::try_from(begun.elapsed().as_millis() / 50).unwrap();
    assert!(asked <= most, "{asked} requests, not {most}");
    scene.expect_current().await;
    scene.fake.put(Kind::Pod, pod("b", NODE));
    scene.fake.fail(None);
    scene.expect(&["a", "b"]).await;
}

#[tokio::test]
async fn one_odd_pod_does_not_hide_the_others() {
    let mut odd = pod("odd", NODE);
    odd["metadata"]["uid"] = json!("");
    let mut scene = Scene::with(|fake| {
        shop(fake, &["a"]);
        fake.put(Kind::Pod, odd.clone());
    });
    scene.expect(&["a"]).await;
    scene.fake.put(Kind::Pod, odd);
    scene.fake.put(Kind::Pod, pod("b", NODE));
    scene.expect(&["a", "b"]).await;
    scene.expect_current().await;
}

#[tokio::test]
async fn an_event_that_is_too_long_is_replaced_by_a_list() {
    let mut huge = pod("huge", NODE);
    huge["metadata"]["annotations"] = json!({"note": "x".repeat(5 << 20)});
    let mut scene = Scene::with(|fake| shop(fake, &["a"]));
    scene.expect(&["a"]).await;
    scene.fake.put(Kind::Pod, huge);
    // No store holds such an object; a list of objects may be as long.
    scene.expect(&["a", "huge"]).await;
    scene.fake.shared.store.remove(Kind::Pod, "shop/huge");
    scene.expect(&["a"]).await;
}

#[tokio::test]
async fn a_list_that_the_servers_memory_cannot_give_comes_from_the_store_in_pages() {
    let mut scene = Scene::with(|fake| {
        shop(fake, &["a", "b", "c", "d", "e"]);
        fake.fail(Fault::Refuse {
            kind: Kind::Pod,
            watches_only: false,
            code: 504,
        });
    });
    scene.expect_trouble(&["504"]).await;
    scene.fake.fail(None);
    scene.expect(&["a", "b", "c", "d", "e"]).await;
    let pages = scene.fake.asked();
    let pages = pages
        .iter()
        .filter(|asked| asked.query.contains("limit=500&continue="));
    assert_eq!(pages.count(), 2);
}
