//! What is put into the cluster.

use std::path::Path;

use serde::Deserialize as _;
use serde_json::{Value, json};

pub const RECORDS: &str = "/var/run/ztunnel/records.jsonl";

/// Objects of the manifest, as they are.
pub fn manifest() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/all-in-one.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

pub fn namespace(name: &str, mode: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"istio.io/dataplane-mode": mode}}})
}

/// The stand-in, where Istio has ztunnel.
pub fn ztunnel() -> Value {
    let labels = json!({"app": "ztunnel", "istio.io/dataplane-mode": "none"});
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "ztunnel", "namespace": "istio-system"},
        "spec": {"selector": {"matchLabels": {"app": "ztunnel"}}, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "ztunnel", "image": "weir.test/ztunnel:1", "imagePullPolicy": "Never",
                    "args": ["in-pod", "--no-dns", "--record", RECORDS],
                    "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "SYS_ADMIN"]}},
                    "volumeMounts": [{"name": "run", "mountPath": "/var/run/ztunnel"}],
                }],
                "volumes": [{"name": "run", "hostPath": {"path": "/var/run/ztunnel", "type": "DirectoryOrCreate"}}],
            },
        }},
    })
}

pub fn server() -> Value {
    json!(["httpd", "-f", "-p", "8080", "-h", "/www"])
}

/// Answers line by line on one connection after the other.
pub fn echo() -> Value {
    json!(["nc", "-ll", "-p", "9000", "-e", "cat"])
}

/// Sends a line now and then on one connection, prints what comes back, and ends when the connection does.
pub fn talk(server: &str) -> Value {
    json!([
        "sh",
        "-c",
        format!("(while sleep 0.1; do date; done) | nc {server} 9000")
    ])
}

pub fn idle() -> Value {
    json!(["sleep", "2147483647"])
}

pub fn pod(namespace: &str, name: &str, node: &str, command: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "weir.test/busybox:1", "imagePullPolicy": "Never", "command": command}],
        },
    })
}

/// Where objects of a kind are.
pub fn collection(object: &Value) -> String {
    let group = match object["apiVersion"].as_str().unwrap() {
        "v1" => "/api/v1".to_owned(),
        other => format!("/apis/{other}"),
    };
    // All kinds that are used here have regular plurals.
    let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
        None => format!("{group}/{plural}"),
    }
}
