//! Objects that tests make.

use serde_json::{Value, json};

/// A namespace.
pub fn namespace(name: &str, labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A pod that is on `node` already.
pub fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": node, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "none.invalid/none"}],
        },
    })
}

/// What a kubelet would write of a pod that runs.
pub fn running(addresses: &[&str]) -> Value {
    let several: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!({"status": {"phase": "Running", "podIP": addresses.first(), "podIPs": several}})
}

/// Where objects of its kind are made.
pub fn collection(object: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let group = match word(&object["apiVersion"]).as_str() {
        "v1" => "/api/v1".to_owned(),
        other => format!("/apis/{other}"),
    };
    let kind = word(&object["kind"]).to_lowercase();
    let plural = match kind.as_str() {
        "networkattachmentdefinition" => "network-attachment-definitions".to_owned(),
        "securitycontextconstraints" => kind,
        _ => format!("{kind}s"),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
        None => format!("{group}/{plural}"),
    }
}

/// Where it is itself.
pub fn path(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    format!("{}/{name}", collection(object))
}
