//! Good days.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use weir_agent::pods::source::SourceEvent;
use weir_agent::pods::source::file::FileSource;

use crate::fake::Kind;
use crate::scene::{NODE, Scene, namespace, pod, shop};

#[tokio::test]
async fn pods_come_change_and_go_with_their_namespaces_labels() {
    let mut scene = Scene::with(|fake| shop(fake, &["a", "b"]));
    scene.expect(&["a", "b"]).await;
    scene
        .expect_pod("a", |entry| {
            entry.namespace_labels["istio.io/dataplane-mode"] == "ambient"
        })
        .await;
    scene.fake.put(Kind::Pod, pod("c", NODE));
    scene.expect(&["a", "b", "c"]).await;
    let mut labelled = pod("c", NODE);
    labelled["metadata"]["labels"]["app"] = json!("other");
    scene.fake.put(Kind::Pod, labelled);
    scene
        .expect_pod("c", |entry| entry.pod.labels["app"] == "other")
        .await;
    scene.fake.put(Kind::Namespace, namespace("shop", "none"));
    scene
        .expect_pod("c", |entry| {
            entry.namespace_labels["istio.io/dataplane-mode"] == "none"
        })
        .await;
    scene.fake.shared.store.remove(Kind::Pod, "shop/b");
    scene.expect(&["a", "c"]).await;
    scene.expect_current().await;
}

#[tokio::test]
async fn a_pod_that_is_made_anew_under_its_old_name_is_another() {
    let mut scene = Scene::with(|fake| shop(fake, &["a"]));
    scene.expect(&["a"]).await;
    scene.fake.shared.store.remove(Kind::Pod, "shop/a");
    let mut again = pod("a", NODE);
    again["metadata"]["uid"] = json!("uid-new");
    scene.fake.put(Kind::Pod, again);
    scene
        .expect_pod("a", |entry| entry.pod.uid.as_str() == "uid-new")
        .await;
    scene.expect(&["a"]).await;
}

/// What the server is asked decides what it costs: pods elsewhere are neither listed nor watched, namespaces come as
/// metadata, and lists are served from the server's memory.
#[tokio::test]
async fn five_thousand_pods_elsewhere_are_never_asked_for() {
    let mut scene = Scene::with(|fake| {
        shop(fake, &["a"]);
        for number in 0..5000 {
            fake.put(Kind::Pod, pod(&format!("far-{number}"), "node-2"));
        }
    });
    scene.expect(&["a"]).await;
    let before = scene.source.events.borrow().clone();
    for number in 0..100 {
        scene.fake.put(Kind::Pod, pod(&format!("far-{number}"), "node-2"));
    }
    scene.fake.put(Kind::Pod, pod("b", NODE));
    scene.expect(&["a", "b"]).await;
    let (SourceEvent::Snapshot(before), SourceEvent::Snapshot(after)) =
        (before, scene.source.events.borrow().clone())
    else {
        panic!("no pods");
    };
    assert_eq!(
        after.revision,
        before.revision + 1,
        "news of others' pods are no news"
    );
    for asked in scene.fake.asked() {
        if asked.path.ends_with("/pods") {
            assert!(
                asked.query.contains("fieldSelector=spec.nodeName%3Dnode-1"),
                "{asked:?}"
            );
        } else {
            assert!(asked.accept.contains("as=PartialObjectMetadata"), "{asked:?}");
        }
        if !asked.query.contains("watch=true") {
            assert!(
                asked
                    .query
                    .contains("resourceVersion=0&resourceVersionMatch=NotOlderThan"),
                "{asked:?}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_said_before_both_lists_are_there() {
    for kind in [Kind::Pod, Kind::Namespace] {
        let fault = crate::fake::Fault::Refuse {
            kind,
            watches_only: false,
            code: 503,
        };
        let mut scene = Scene::with(|fake| {
            shop(fake, &["a"]);
            fake.fail(fault);
        });
        assert_eq!(scene.expect_trouble(&["503"]).await, None);
        assert_eq!(*scene.source.events.borrow(), SourceEvent::Pending);
        scene.fake.fail(None);
        scene.expect(&["a"]).await;
        scene.expect_current().await;
    }
}

#[tokio::test]
async fn a_pod_whose_namespace_is_not_known_yet_is_held_back() {
    let mut scene = Scene::with(|fake| shop(fake, &["a"]));
    scene.expect(&["a"]).await;
    let mut stranger = pod("b", NODE);
    stranger["metadata"]["namespace"] = json!("new");
    scene.fake.put(Kind::Pod, stranger);
    scene.fake.put(Kind::Pod, pod("c", NODE));
    scene.expect(&["a", "c"]).await;
    scene.fake.put(Kind::Namespace, namespace("new", "ambient"));
    scene.expect(&["a", "b", "c"]).await;
}

#[tokio::test]
async fn what_is_written_on_a_pod_is_told_and_is_no_news_of_the_pod() {
    let mut scene = Scene::with(|fake| shop(fake, &["a"]));
    scene.expect(&["a"]).await;
    let mut written = pod("a", NODE);
    written["metadata"]["annotations"] = json!({"ambient.istio.io/redirection": "enabled"});
    scene.fake.put(Kind::Pod, written);
    let uid = weir_agent::pods::pod::PodUid::new("uid-a").unwrap();
    let told = scene
        .redirections
        .wait_for(|known| known.get(&uid) == Some(&Some("enabled".to_owned())));
    timeout(Duration::from_secs(20), told).await.unwrap().unwrap();
    let SourceEvent::Snapshot(snapshot) = scene.source.events.borrow().clone() else {
        panic!("no pods");
    };
    assert_eq!(snapshot.revision, 1);
    assert!(snapshot.pods[0].pod.annotations.is_empty());
}

#[tokio::test]
async fn the_task_ends_when_nobody_listens() {
    let mut scene = Scene::with(|fake| shop(fake, &["a"]));
    scene.expect(&["a"]).await;
    let Scene { source, task, .. } = &mut scene;
    let (_, another) = FileSource::new("/nowhere");
    drop(std::mem::replace(source, another));
    timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}
