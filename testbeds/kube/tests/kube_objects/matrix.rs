//! The objects of the kind matrix, as a real API server takes them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;
use weir_kube::ControlPlane;

/// What `testbeds/kind/run` fills in.
const BLANKS: &[(&str, &str)] = &[
    ("@SERVERS@", "2"),
    ("@MESH@", "server-pods.weir-mesh,172.30.0.11"),
    ("@OUTSIDE@", "server-pods.weir-outside"),
    ("@FIRST@", "[fd00::1]:8080"),
    (
        "@MESH_NETWORKS@",
        r#"[{"name": "macvlan", "ips": ["172.30.0.11/24"]}]"#,
    ),
    ("@OUTSIDE_NETWORKS@", ""),
];

fn objects_in(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kind").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let text = BLANKS
        .iter()
        .fold(text, |text, (blank, filling)| text.replace(blank, filling));
    assert!(!text.contains('@'), "a blank is left: {text}");
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn collection(object: &Value) -> String {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    match object["kind"].as_str().unwrap() {
        "Namespace" => "/api/v1/namespaces".to_owned(),
        "Service" => format!("/api/v1/namespaces/{namespace}/services"),
        "Deployment" => format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
        "Job" => format!("/apis/batch/v1/namespaces/{namespace}/jobs"),
        other => panic!("this test does not know where a {other} is made: add it"),
    }
}

#[test]
fn kube_every_object_of_the_matrix_is_accepted() {
    let control_plane = ControlPlane::start().unwrap_or_else(|error| panic!("{error}"));
    let cluster = control_plane.cluster().unwrap();
    let files = ["servers.yaml", "clients.yaml", "endure.yaml"];
    let all: Vec<Value> = files.into_iter().flat_map(objects_in).collect();
    for object in all {
        let path = match object["kind"] == "Namespace" {
            // The others go into them.
            true => collection(&object),
            false => format!("{}?dryRun=All&fieldValidation=Strict", collection(&object)),
        };
        let made = cluster.create(&path, &object);
        let made = made.unwrap_or_else(|error| panic!("{object:#}: {error}"));
        assert_eq!(made["metadata"]["name"], object["metadata"]["name"]);
    }
}
