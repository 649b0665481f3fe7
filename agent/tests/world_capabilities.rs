//! The rights that deploy/all-in-one.yaml grants are enough for the agent, and none of them is too much.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use aya::util::KernelVersion;
use serde::Deserialize as _;
use serde_json::Value;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec};
use weir_testbeds::world::Family;

/// The capabilities of the manifest, in lower case.
fn granted() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/all-in-one.yaml");
    let text = fs::read_to_string(path).unwrap();
    let documents: Vec<Value> = serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect();
    let daemon_set = documents
        .iter()
        .find(|document| document["kind"] == "DaemonSet")
        .unwrap();
    let context = &daemon_set["spec"]["template"]["spec"]["containers"][0]["securityContext"];
    assert_eq!(context["capabilities"]["drop"][0], "ALL");
    let add = context["capabilities"]["add"].as_array().unwrap();
    add.iter()
        .map(|name| name.as_str().unwrap().to_lowercase())
        .collect()
}

/// A mesh whose ztunnel listened before the agent with these rights came: it starts with nothing in the kernel.
fn taken_over_with(name: &str, capabilities: &[String]) -> Mesh {
    let mut mesh = Mesh::builder(name)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .start()
        .unwrap();
    mesh.agent.kill();
    fs::remove_dir_all(mesh.agent.pin_root()).unwrap();
    mesh.agent
        .restart_under(&[
            "setpriv",
            "--no-new-privs",
            "--bounding-set",
            &bounding(capabilities),
        ])
        .unwrap();
    mesh
}

fn bounding(capabilities: &[String]) -> String {
    capabilities
        .iter()
        .fold("-all".to_owned(), |set, name| set + ",+" + name)
}

fn all_but(name: &str) -> Vec<String> {
    let granted = granted();
    let left: Vec<String> = granted.iter().filter(|other| *other != name).cloned().collect();
    assert_eq!(
        left.len() + 1,
        granted.len(),
        "{name} is not granted: {granted:?}"
    );
    left
}

/// Waits until the agent has said this since it was restarted.
fn assert_says(mesh: &Mesh, words: &[&str]) {
    let said = || {
        let output = mesh.agent.output_since_start();
        words.iter().all(|word| output.contains(word)).then_some(())
    };
    let heard = eventually(PATIENCE, said);
    assert!(heard.is_ok(), "{words:?} in {}", mesh.agent.output_since_start());
}

fn verification(mesh: &Mesh) -> (i32, String) {
    let output = mesh.agent.run("verify", &["-o", "json"]).unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn world_what_is_granted_is_enough() {
    let mesh = taken_over_with("rights-enough", &granted());
    mesh.settled().unwrap();
    let (code, report) = verification(&mesh);
    assert_eq!(code, 0, "{report}\n{}", mesh.agent.output_since_start());
    for address in mesh.pod("server").addresses().iter() {
        let to = SocketAddr::new(address, 8080);
        let _server = Server::start(&mesh.pod("server").netns, &ServerSpec::new("server", to)).unwrap();
        let seen = Client::exchange(&mesh.pod("client").netns, &ClientSpec::to(to)).unwrap();
        assert_ne!(
            seen.server.peer.port(),
            seen.local.port(),
            "not captured: {seen:?}"
        );
    }
}

/// What `weir cleanup` says that runs with these rights in a container that shares the node's processes, as the image
/// does: exit code, then what it has removed.
fn cleaned_up_with(name: &str, capabilities: &[String]) -> (Option<i32>, Value) {
    let mut mesh = Mesh::builder(name).enrolled("client").start().unwrap();
    let mut idle = Command::new("sleep");
    idle.arg("60");
    let _process = mesh.pod("client").netns.spawn(idle).unwrap();
    mesh.agent.kill();
    let weir = mesh.agent.command("cleanup").unwrap();
    let contained = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--cgroup", "sh", "-c", contained, "sh"])
        .args([
            "setpriv",
            "--no-new-privs",
            "--bounding-set",
            &bounding(capabilities),
        ])
        .arg(weir.get_program())
        .args(weir.get_args())
        .args(["-o", "json"])
        .output()
        .unwrap();
    assert!(!mesh.agent.pin_root().exists(), "{output:?}");
    let removed = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        removed.unwrap_or_else(|_| panic!("{output:?}")),
    )
}

#[test]
fn world_what_is_granted_is_enough_to_clean_up() {
    let (code, removed) = cleaned_up_with("rights-cleanup", &granted());
    assert_eq!(code, Some(0), "{removed:#}");
    assert_eq!(removed["pods"].as_array().unwrap().len(), 1, "{removed:#}");
}

#[test]
fn world_without_net_raw_a_cleanup_tells_of_listeners_that_it_cannot_free() {
    let (code, removed) = cleaned_up_with("rights-bound", &all_but("net_raw"));
    assert_eq!(code, Some(1), "{removed:#}");
    assert_eq!(
        removed["still_bound"][0]["netns"], removed["pods"][0],
        "{removed:#}"
    );
    let why = removed["still_bound"][0]["why"].as_str().unwrap();
    assert!(why.contains("NET_RAW") && why.contains("not permitted"), "{why}");
}

#[test]
fn world_without_sys_admin_no_namespace_can_be_entered() {
    let mesh = taken_over_with("rights-admin", &all_but("sys_admin"));
    assert_says(&mesh, &["CAP_SYS_ADMIN", "not permitted"]);
}

#[test]
fn world_without_net_admin_no_pod_can_be_enrolled() {
    let mesh = taken_over_with("rights-net", &all_but("net_admin"));
    // Before Linux 6.9 who has SYS_ADMIN alone cannot make maps of sockets either, and the agent ends.
    if KernelVersion::current().unwrap() >= KernelVersion::new(6, 9, 0) {
        mesh.wait_state("client", "failed").unwrap();
    }
    assert_says(&mesh, &["not permitted"]);
}

#[test]
fn world_without_net_raw_machines_cannot_join_a_running_pod() {
    let mut mesh = taken_over_with("rights-raw", &all_but("net_raw"));
    mesh.settled().unwrap();
    let annotation = "istio.io/reroute-virtual-interfaces";
    mesh.change("client", |line| line.annotate(annotation, "vm0"))
        .unwrap();
    mesh.wait_state("client", "failed").unwrap();
    assert_says(&mesh, &["NET_RAW", "not permitted"]);
}

#[test]
fn world_without_sys_ptrace_no_namespace_of_a_process_can_be_opened() {
    let mesh = taken_over_with("rights-ptrace", &all_but("sys_ptrace"));
    mesh.wait_state("client", "failed").unwrap();
    assert_says(&mesh, &["SYS_PTRACE", "denied"]);
}
