//! What the operator's commands say of such pods.

use std::fs;

use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::world::Wiring;

use crate::scene::mesh;

fn verify(mesh: &Mesh) -> (bool, String) {
    let output = mesh.agent.run("verify", &["-o", "json"]).unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn verification_finds_and_mends_programs_that_are_gone() {
    let mesh = mesh("node-verify", Wiring::PointToPoint);
    let (well, report) = verify(&mesh);
    assert!(well, "{report}");
    let pins = mesh.agent.pin_root().join("v1/pods");
    let links = || {
        let pods = fs::read_dir(&pins).unwrap();
        let links = pods.flat_map(|pod| fs::read_dir(pod.unwrap().path()).unwrap());
        links.map(|link| link.unwrap().path()).collect::<Vec<_>>()
    };
    let removed = links();
    assert_eq!(removed.len(), 4, "two programs for each of two pods");
    for link in &removed {
        fs::remove_file(link).unwrap();
    }
    let (well, report) = verify(&mesh);
    assert!(well, "{report}");
    // Whoever noticed it first: verification, or the look at the pod when the last of its routes has settled.
    assert_eq!(links().len(), 4, "nothing was mended: {report}");
}

#[test]
fn without_a_ztunnel_verification_fails_and_says_why() {
    let mut mesh = mesh("node-deaf", Wiring::Bridge);
    mesh.proxy.kill();
    let said = eventually(PATIENCE, || {
        let (well, report) = verify(&mesh);
        (!well && report.contains("no ztunnel listens")).then_some(())
    });
    said.unwrap();
}

#[test]
fn status_names_the_path() {
    let mesh = mesh("node-status", Wiring::Bridge);
    let output = mesh.agent.run("status", &["-o", "json"]).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let pods = status["pods"].as_array().unwrap();
    let client = pods.iter().find(|pod| pod["name"] == "client").unwrap();
    assert_eq!(client["path"], "tc");
    let ztunnels = status["agent"]["node_ztunnels"].as_array().unwrap();
    assert_eq!(ztunnels.len(), 1, "{ztunnels:?}");
    assert_eq!(ztunnels[0]["current"], true);
    assert_eq!(ztunnels[0]["complaint"], serde_json::Value::Null);
    for arguments in [&[][..], &["client"]] {
        let output = mesh.agent.run("status", arguments).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            !text.contains("no ztunnel") && !text.contains("does not"),
            "{text}"
        );
    }
}
