//! What the agent tells of how node and pods are connected, and that it notices when that changes.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::link::Device;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netlink::Netlink;
use weir_testbeds::rule::Rule;
use weir_testbeds::unique;

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
        .netlink(async |netlink| netlink.add_rule(&Rule::v4(32764, 100).mark(0x111, 0xfff)).await)
        .unwrap();
    let mesh = builder.start_in(world).unwrap();
    let warnings = |pod| status(&mesh, &[pod])["warnings"].clone();
    let rule = "the routing rule 32764 to table 100 for mark 0x111/0xfff asks for a mark that Weir uses; Weir's rules are asked first";
    assert_eq!(warnings("web"), serde_json::json!([rule]));
    assert_eq!(warnings("other"), serde_json::json!([]));
}
