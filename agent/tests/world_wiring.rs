//! What the agent tells of how node and pods are connected, and that it notices when that changes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde_json::Value;
use weir_common::mark::{LOOPED, LOOPED_MASK, RULE_PREFERENCE, TABLE};
use weir_netdetect::facts;
use weir_netdetect::read::{self, Known};
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::link::Device;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netlink::Netlink;
use weir_testbeds::route::Route;
use weir_testbeds::rule::Rule;
use weir_testbeds::unique;
use weir_testbeds::world::{Family, Wiring};

/// A directory that is gone when dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

impl Directory {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
}

fn status(mesh: &Mesh, arguments: &[&str]) -> Value {
    let output = mesh
        .agent
        .run("status", &[arguments, &["-o", "json"]].concat())
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn wait_for(mesh: &Mesh, arguments: &[&str], pointer: &str, expected: &Value) {
    let told = || {
        let status = status(mesh, arguments);
        (status.pointer(pointer) == Some(expected)).then_some(())
    };
    let last = || status(mesh, arguments).pointer(pointer).cloned();
    assert!(
        eventually(PATIENCE, told).is_ok(),
        "{pointer}: {:?}, not {expected}",
        last()
    );
}

#[test]
fn the_wiring_is_told_and_followed() {
    let directory = Directory(std::env::temp_dir().join(unique::name("wiring")));
    fs::create_dir(&directory.0).unwrap();
    directory.write(
        "10-net.conflist",
        r#"{"plugins":[{"type":"bridge"},{"type":"portmap"}]}"#,
    );
    let mesh = Mesh::builder("wiring")
        .enrolled("web")
        .flag("--cni-conf-dir")
        .flag(directory.0.to_str().unwrap())
        .start()
        .unwrap();
    mesh.settled().unwrap();
    wait_for(
        &mesh,
        &[],
        "/agent/wiring/plugins",
        &serde_json::json!(["bridge", "portmap"]),
    );
    let told = status(&mesh, &["web"]);
    let eth0 = &told["wiring"][0];
    assert_eq!(eth0["interface"], "eth0");
    assert_eq!(eth0["kind"], "veth");
    assert_eq!(eth0["far_end"], mesh.pod("web").host_interface().unwrap());
    assert_eq!(
        (&eth0["plugin"], &eth0["confidence"]),
        (&"bridge".into(), &"likely".into())
    );
    let output = mesh.agent.run("status", &["web"]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("made by bridge (likely)"), "{text}");

    // A file that comes, one that is half written, and one of istio-cni's.
    directory.write("05-first.conf", r#"{"type":"ptp"}"#);
    wait_for(&mesh, &[], "/agent/wiring/plugins", &serde_json::json!(["ptp"]));
    directory.write("00-half.conflist", r#"{"plugins":["#);
    directory.write("90-istio.conf", r#"{"type":"istio-cni"}"#);
    let two = || {
        (status(&mesh, &[])["agent"]["wiring"]["problems"]
            .as_array()?
            .len()
            == 2)
            .then_some(())
    };
    assert!(eventually(PATIENCE, two).is_ok());

    // An interface of the node that tells of a plugin.
    let add = async |netlink: Netlink| netlink.add_bridge(&Device::named("flannel.1")).await;
    mesh.world.node.netns.netlink(add).unwrap();
    wait_for(&mesh, &["web"], "/wiring/0/plugin", &"flannel".into());
}

#[test]
fn what_gets_in_the_way_in_a_pod_is_told() {
    let builder = Mesh::builder("obstacle").enrolled("web").enrolled("other");
    let world = builder.world().unwrap();
    world
        .pod("web")
        .netns
        .netlink(async |netlink| netlink.add_rule(&Rule::v4(32764, 100).mark(0x222, 0xfff)).await)
        .unwrap();
    let mesh = builder.start_in(world).unwrap();
    let warnings = |pod| status(&mesh, &[pod])["warnings"].clone();
    let rule = "the routing rule 32764 to table 100 for mark 0x222/0xfff asks for a mark that Weir uses; Weir's rules are asked first";
    wait_for(&mesh, &["web"], "/warnings", &serde_json::json!([rule]));
    assert_eq!(warnings("other"), serde_json::json!([]));
}

/// What the list tells of a pod: nobody looks into it for that.
fn listed(mesh: &Mesh, pod: &str) -> Value {
    let status = status(mesh, &[]);
    let pods = status["pods"].as_array().unwrap();
    pods.iter().find(|listed| listed["name"] == pod).unwrap().clone()
}

fn wait_for_listed(mesh: &Mesh, pod: &str, expected: impl Fn(&Value) -> bool) {
    let told = || expected(&listed(mesh, pod)).then_some(());
    assert!(eventually(PATIENCE, told).is_ok(), "{}", listed(mesh, pod));
}

#[test]
fn what_changes_in_a_running_pod_is_noticed() {
    let builder = Mesh::builder("changes")
        .enrolled("web")
        .ztunnel_outside(Wiring::Bridge);
    let mut world = builder.world().unwrap();
    world
        .add_interface("web", "net1", Wiring::MacvlanPrivate)
        .unwrap();
    let mesh = builder.start_in(world).unwrap();
    let first = |path: &'static str, interface: &'static str| {
        wait_for_listed(&mesh, "web", |pod| {
            pod["path"] == path && pod["interface"] == interface
        });
    };
    first("tc", "eth0");
    let pod = &mesh.pod("web").netns;
    let everything: IpNetwork = "0.0.0.0/0".parse().unwrap();
    let to_net1 = async |netlink: Netlink| {
        netlink.delete_route(&Route::to(everything)).await?;
        netlink
            .add_route(&Route::to(everything).dev("net1").link_scope())
            .await
    };
    pod.netlink(to_net1).unwrap();
    first("not captured", "net1");
    let told = listed(&mesh, "web");
    let why = "not captured by net1, its first interface: the pod's packets are redirected on the node at another interface";
    assert!(told["why"].as_str().unwrap().starts_with(why), "{told}");
    // The interface goes, and its routes with it.
    pod.netlink(async |netlink| netlink.delete_link("net1").await)
        .unwrap();
    first("tc", "eth0");
    wait_for_listed(&mesh, "web", |pod| pod["warnings"] == serde_json::json!([]));
}

#[test]
fn a_rule_that_comes_and_one_of_ours_that_goes_are_noticed() {
    let mesh = Mesh::builder("rules")
        .family(Family::Dual)
        .enrolled("web")
        .start()
        .unwrap();
    let pod = &mesh.pod("web").netns;
    let foreign = Rule::v6(32764, 100).mark(0x222, 0xfff);
    pod.netlink(async |netlink| netlink.add_rule(&foreign).await)
        .unwrap();
    let warned = |pod: &Value| pod["warnings"].to_string().contains("the routing rule 32764");
    wait_for_listed(&mesh, "web", warned);
    pod.netlink(async |netlink| netlink.delete_rule(&foreign).await)
        .unwrap();
    wait_for_listed(&mesh, "web", |pod| !warned(pod));
    let ours = Rule::v4(RULE_PREFERENCE, TABLE).mark(LOOPED, LOOPED_MASK);
    pod.netlink(async |netlink| netlink.delete_rule(&ours).await)
        .unwrap();
    let host = &mesh.world.node.netns;
    let is_back = || {
        let facts = read::pod(pod.as_fd(), &Known::new(host.as_fd())).unwrap();
        let mut rules = facts.rules.iter();
        rules
            .any(|rule| rule.family == facts::Family::V4 && rule.preference == RULE_PREFERENCE)
            .then_some(())
    };
    assert!(eventually(PATIENCE, is_back).is_ok());
}
