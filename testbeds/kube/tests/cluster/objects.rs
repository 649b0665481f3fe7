//! What is put into the cluster.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::{Value, json};

const CONFORMANCE: &str = "weir.test/conformance:1";
pub const PORT: u16 = 8080;
pub const RECORDS: &str = "/var/run/ztunnel/records.jsonl";

/// Objects of the manifest for clusters of this age, as they are.
pub fn manifest() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/all-in-one-before-1.30.yaml");
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
    json!(["httpd", "-f", "-p", PORT.to_string(), "-h", "/www"])
}

pub fn idle() -> Value {
    json!(["sleep", "2147483647"])
}

pub fn pod(namespace: &str, name: &str, node: &str, command: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name.split('.').next()}},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "weir.test/busybox:1", "imagePullPolicy": "Never", "command": command}],
        },
    })
}

/// A pod of the list of `testbeds/conformance`, which ends.
pub fn conformance(namespace: &str, name: &str, node: &str, arguments: &[&str]) -> Value {
    let mut pod = pod(namespace, name, node, &json!(null));
    pod["spec"]["restartPolicy"] = json!("Never");
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!(CONFORMANCE);
    container["args"] = json!(arguments);
    pod
}

/// What the others connect to.
pub fn target(namespace: &str, name: &str, node: &str) -> Value {
    let ports = PORT.to_string();
    let mut pod = conformance(
        namespace,
        name,
        node,
        &["serve", "--name", name, "--ports", &ports],
    );
    pod["spec"]["restartPolicy"] = json!("Always");
    let probe = json!({"tcpSocket": {"port": PORT}, "periodSeconds": 1});
    pod["spec"]["containers"][0]["readinessProbe"] = probe;
    pod
}

/// Connects before it does anything else, whenever it starts; ends if that is not as it must be.
pub fn first_then_idle(namespace: &str, name: &str, node: &str, to: SocketAddr) -> Value {
    let script = format!("weir-conformance first --to {to} && exec sleep 2147483647");
    let mut pod = pod(namespace, name, node, &json!(["sh", "-c", script]));
    pod["spec"]["containers"][0]["image"] = json!(CONFORMANCE);
    pod
}
