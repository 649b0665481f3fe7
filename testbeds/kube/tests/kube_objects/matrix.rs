//! What the kind matrix puts into its clusters.

use std::path::Path;

use serde_json::{Value, json};

use crate::trial::{Trial, parse};

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
    parse(&text)
}

#[test]
fn kube_every_object_of_the_matrix_is_accepted() {
    let mut trial = Trial::new("matrix", &["network-attachment-definitions"]);
    let files = ["servers.yaml", "clients.yaml", "endure.yaml", "macvlan.yaml"];
    for mut object in files.into_iter().flat_map(objects_in) {
        if object["kind"] == "NetworkAttachmentDefinition" {
            // The row says for which namespaces.
            object["metadata"]["namespace"] = json!("weir-mesh");
        }
        trial.accepts("the matrix", &object);
    }
    assert!(trial.kinds.contains("NetworkAttachmentDefinition"));
}
