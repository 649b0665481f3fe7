//! The manifest, as a real API server takes it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::{Value, json};
use weir_kube::{ControlPlane, objects};

/// Where objects of a kind are made.
fn collection(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap();
    let plural = match kind {
        "ClusterRole" => "clusterroles",
        "ClusterRoleBinding" => "clusterrolebindings",
        "ConfigMap" => "configmaps",
        "DaemonSet" => "daemonsets",
        "ResourceQuota" => "resourcequotas",
        "ServiceAccount" => "serviceaccounts",
        other => panic!("this test does not know where a {other} is made: add it"),
    };
    let group = match object["apiVersion"].as_str().unwrap() {
        "v1" => "/api/v1".to_owned(),
        other => format!("/apis/{other}"),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
        None => format!("{group}/{plural}"),
    }
}

/// Kinds that come with operators, which no API server has by itself.
const OF_OPERATORS: [&str; 2] = ["monitoring.coreos.com/", "security.openshift.io/"];

/// All manifests that there are: that for `kubectl apply`, and what `./x test kube` rendered for each platform.
fn manifests() -> Vec<PathBuf> {
    let mut paths = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/all-in-one.yaml")];
    if let Some(rendered) = std::env::var_os("WEIR_RENDERED") {
        let entries = std::fs::read_dir(rendered).unwrap();
        paths.extend(entries.map(|entry| entry.unwrap().path()));
    } else {
        println!("only the manifest is tried: ./x test kube renders the platforms' too");
    }
    paths
}

/// Old servers pass over fields that they do not know, newer ones are asked to refuse them.
#[test]
fn kube_every_object_of_every_platform_is_accepted() {
    let control_plane = ControlPlane::start().unwrap_or_else(|error| panic!("{error}"));
    let cluster = control_plane.cluster().unwrap();
    let namespace = objects::namespace("istio-system", &json!({}));
    cluster.create("/api/v1/namespaces", &namespace).unwrap();
    for manifest in manifests() {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let about = text.lines().next().unwrap_or_default();
        let mut kinds = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).unwrap();
            let version = object["apiVersion"].as_str().unwrap();
            if OF_OPERATORS.iter().any(|group| version.starts_with(group)) {
                continue;
            }
            let path = format!("{}?dryRun=All&fieldValidation=Strict", collection(&object));
            let made = cluster.create(&path, &object);
            let made = made.unwrap_or_else(|error| panic!("{about}: {}: {error}", object["kind"]));
            assert_eq!(made["metadata"]["name"], object["metadata"]["name"]);
            kinds.push(object["kind"].as_str().unwrap().to_owned());
        }
        assert!(kinds.contains(&"DaemonSet".to_owned()), "{about}: {kinds:?}");
    }
}
