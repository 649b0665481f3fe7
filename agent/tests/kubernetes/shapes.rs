//! Pods as older and newer servers write them.

use serde_json::{Value, json};
use weir_agent::pods::pod::{Phase, Pod};

use crate::fake::Kind;
use crate::scene::{NODE, Scene, shop};

/// What Weir makes of a pod.
async fn read(mut written: Value) -> Pod {
    written["spec"]["nodeName"] = json!(NODE);
    let metadata = &mut written["metadata"];
    metadata["name"] = json!("a");
    metadata["namespace"] = json!("shop");
    metadata["uid"] = json!("u");
    let mut scene = Scene::with(|fake| {
        shop(fake, &[]);
        fake.put(Kind::Pod, written);
    });
    scene.expect(&["a"]).await;
    let weir_agent::pods::source::SourceEvent::Snapshot(snapshot) = scene.source.events.borrow().clone()
    else {
        panic!("no pods");
    };
    snapshot.pods[0].pod.clone()
}

#[tokio::test]
async fn a_pod_that_has_just_been_made_is_pending_and_has_no_address() {
    let pod = read(json!({"spec": {}, "metadata": {}})).await;
    assert_eq!(
        (pod.phase, pod.service_account.as_str()),
        (Phase::Pending, "default")
    );
    assert!(pod.addresses.is_empty() && pod.labels.is_empty() && !pod.host_network);
}

/// Its containers may run on for a while, in the mesh; that they are gone at some point is no failure.
#[tokio::test]
async fn a_pod_that_was_deleted_is_ending_until_it_has_finished() {
    for (written, phase) in [
        ("Running", Phase::Ending),
        ("Pending", Phase::Ending),
        ("Failed", Phase::Failed),
    ] {
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {},
            "status": {"phase": written}});
        assert_eq!(read(deleted).await.phase, phase, "{written}");
    }
}

#[tokio::test]
async fn a_server_before_dual_stack_tells_one_address() {
    let pod = read(json!({"spec": {"hostNetwork": true, "serviceAccountName": "web"},
        "status": {"phase": "Running", "podIP": "10.0.0.9"}}))
    .await;
    assert_eq!(pod.addresses, ["10.0.0.9".parse::<std::net::IpAddr>().unwrap()]);
    assert!(pod.host_network);
    assert_eq!((pod.phase, pod.service_account.as_str()), (Phase::Running, "web"));
}

/// Kubelet, the runtime and cgroups call it by that, and not by the server's uid.
#[tokio::test]
async fn a_pod_of_kubelets_own_file_comes_with_the_uid_that_its_node_knows() {
    let hash = "0123456789abcdef0123456789abcdef";
    let annotations = json!({"kubernetes.io/config.hash": hash, "kubernetes.io/config.source": "file"});
    let pod = read(json!({"metadata": {"annotations": annotations}, "spec": {}})).await;
    assert_eq!(pod.uid.as_str(), "u");
    assert_eq!(pod.annotations["kubernetes.io/config.hash"], hash);
}

/// Fields of Kubernetes up to 1.36, and some that no release has, in shapes that were never used before.
#[tokio::test]
async fn what_newer_servers_add_is_passed_over() {
    let pod = read(json!({
        "metadata": {
            "labels": {"a": "b"}, "generation": 7, "selfLink": null, "managedFields": [{"fieldsV1": {"f:x": {}}}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "ambient.istio.io/dns-capture": "false"},
        },
        "spec": {
            "resources": {"limits": {"cpu": "1"}}, "schedulingGates": [], "os": {"name": "linux"}, "hostUsers": false,
            "resourceClaims": [{"name": "gpu"}], "hostnameOverride": "h", "workloadRef": {"name": "w"},
            "initContainers": [{"name": "sidecar", "restartPolicy": "Always", "restartPolicyRules": [{}]}],
            "serviceAccount": "old", "serviceAccountName": "new", "never": [[["seen"]]],
        },
        "status": {
            "phase": "Migrating", "observedGeneration": 7, "hostIPs": [{"ip": "10.9.9.9"}], "resize": "InProgress",
            "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1", "zone": "z"}, {"ip": "fd00::1"}, {"host": "x"}],
            "extendedResourceClaimStatus": {}, "allocatedResources": {"cpu": "1"},
        },
    }))
    .await;
    assert_eq!(
        pod.phase,
        Phase::Unknown,
        "a phase that we do not know is not the end of a pod"
    );
    assert_eq!(pod.addresses.len(), 2);
    assert_eq!(pod.service_account, "new");
    assert_eq!(
        pod.annotations.keys().collect::<Vec<_>>(),
        ["ambient.istio.io/dns-capture"]
    );
}
