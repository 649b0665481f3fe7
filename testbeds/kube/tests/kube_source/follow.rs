//! Pods, as a real server tells of them.

use serde_json::{Value, json};
use weir_agent::api_server::Patience;
use weir_agent::pods::pod::{Phase, PodEntry, PodName};
use weir_agent::pods::source::kubernetes::PodFinder;
use weir_kube::Place;
use weir_testbeds::deadline::eventually;

use crate::crashing::Crashing;
use crate::scene::{DEADLINE, Following, Stage};

#[test]
fn kube_pods_of_the_node_are_followed() {
    let stage = Stage::new();
    let node = stage.node.to_string();
    let before = stage.create_pod("before", &node);
    stage.create_pod("elsewhere", "another-node");
    let mut following = Following::begin(&stage);
    following.expect(&["before"]);
    following.expect_pods(|pods| {
        let entry = &pods[0];
        entry.namespace_labels["istio.io/dataplane-mode"] == "ambient"
            && entry.pod.uid.as_str() == before["metadata"]["uid"].as_str().unwrap()
            && entry.pod.phase == Phase::Pending
            && entry.pod.addresses.is_empty()
    });
    stage.create_pod("after", &node);
    following.expect(&["after", "before"]);
    stage.run_pod("before", &["10.1.2.3", "fd00::3"]);
    following.expect_pods(|pods| {
        let pod = pods.iter().find(|entry| entry.pod.name.name() == "before");
        pod.is_some_and(|entry| entry.pod.phase == Phase::Running && entry.pod.addresses.len() == 2)
    });
    stage.patch_pod(
        "before",
        &json!({"metadata": {"labels": {"app": null, "new": "x"}}}),
    );
    following.expect_pods(|pods| pods.iter().any(|entry| entry.pod.labels.contains_key("new")));
    stage.label_namespace(&Value::Null);
    following.expect_pods(|pods| {
        pods.iter()
            .all(|entry| !entry.namespace_labels.contains_key("istio.io/dataplane-mode"))
    });
    stage.delete_pod("before");
    following.expect(&["after"]);
    following.expect_current();
}

#[test]
fn kube_one_pod_is_found_by_name() {
    let stage = Stage::new();
    stage.create_pod("a", &stage.node.to_string());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let found = runtime.block_on(async {
        let finder = PodFinder::new(stage.server(Patience::default()).await);
        let name = |name| PodName::new(stage.namespace.as_str(), name).unwrap();
        (
            finder.find(&name("a")).await.unwrap(),
            finder.find(&name("b")).await.unwrap(),
        )
    });
    let (Some(entry), None) = found else {
        panic!("{found:?}");
    };
    assert_eq!(entry.namespace_labels["istio.io/dataplane-mode"], "ambient");
}

/// This one's server is its own, as others must not lose theirs.
#[test]
fn kube_a_server_that_crashes_takes_nobody_out() {
    let place = Place::unshared().unwrap();
    let stage = Stage::on(place.clone());
    let crashing = Crashing::new(&place, || stage.relayed());
    let node = stage.node.to_string();
    stage.create_pod("a", &node);
    stage.create_pod("b", &node);
    let mut following = Following::begin(&stage);
    following.expect(&["a", "b"]);
    let server = following.runtime().block_on(stage.server(Patience::default()));
    let finder = PodFinder::new(server);
    for _ in 0..2 {
        crashing.go_away();
        following.expect_trouble(&["cannot be reached"]);
        following.expect(&["a", "b"]);
        // Of a pod that is not on the list the container runtime is told why it cannot start.
        let name = PodName::new(stage.namespace.as_str(), "c").unwrap();
        let asked = following.runtime().block_on(finder.find(&name));
        let told = asked.unwrap_err().to_string();
        assert!(told.contains("cannot be reached"), "{told}");
        crashing.come_back();
        following.expect_current();
        stage.delete_pod("b");
        following.expect(&["a"]);
        stage.create_pod("b", &node);
        following.expect(&["a", "b"]);
    }
}

/// Each cut comes while news are on their way, and while the watches before have hardly begun.
#[test]
fn kube_a_connection_that_is_cut_again_and_again_hides_nothing() {
    let stage = Stage::new();
    let node = stage.node.to_string();
    stage.create_pod("a", &node);
    let relay = stage.relayed();
    let mut following = Following::begin(&stage);
    following.expect(&["a"]);
    for round in 0..15 {
        let known = relay.accepted();
        let is_odd = round % 2 == 1;
        stage.patch_pod(
            "a",
            &json!({"metadata": {"labels": {"round": round.to_string()}}}),
        );
        relay.cut();
        if is_odd {
            stage.delete_pod("b");
        } else {
            stage.create_pod("b", &node);
        }
        stage.label_namespace(&json!(if is_odd { "ambient" } else { "none" }));
        let comes_back = || (relay.accepted() > known).then_some(());
        assert!(
            eventually(DEADLINE, comes_back).is_ok(),
            "round {round}: nobody asks again"
        );
        let knows_a = |pods: &[PodEntry]| pods.iter().any(|entry| entry.pod.name.name() == "a");
        assert!(following.is_now(knows_a), "round {round}: a pod is lost");
    }
    following.expect_pods(|pods| {
        let [a, b] = pods else { return false };
        let is_out = |entry: &PodEntry| entry.namespace_labels["istio.io/dataplane-mode"] == "none";
        let last = [a, b].into_iter().find(|entry| entry.pod.name.name() == "a");
        last.is_some_and(|a| a.pod.labels["round"] == "14") && is_out(a) && is_out(b)
    });
    following.expect_current();
}
