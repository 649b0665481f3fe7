//! The agent puts the plugin behind Debian's own, and keeps it there.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use weir_testbeds::cni::{DEBIAN, Runtime, Sandbox};
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;

use super::support::{PATIENCE, Scratch, awaited, connect, directory_of, serve, uid, was_redirected};

const OURS: &str = "0-weir.conflist";
const BEFORE_THE_NEXT_LOOK: Duration = Duration::from_secs(8);

/// Debian's bridge plugin, as a distribution would configure it.
fn bridge(scratch: &Scratch, mtu: u32) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "debian",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "debian0",
                "isGateway": true,
                "mtu": mtu,
                "ipam": {
                    "type": "host-local",
                    "dataDir": scratch.path("ipam"),
                    "ranges": [[{"subnet": "10.77.0.0/24"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "tuning"},
        ],
    })
}

struct Node {
    mesh: Mesh,
    runtime: Runtime,
    conf_dir: PathBuf,
    scratch: Scratch,
}

impl Node {
    /// A node on which the primary CNI is configured, and then Weir is installed.
    fn new(label: &str) -> Self {
        let plugin = directory_of("weir-cni").join("weir-cni");
        let node = Self::installing(label, Scratch::new(label), &plugin);
        node.wait_for("\"weir-cni\"");
        node
    }

    /// The same before Weir's files are there, with any file as its plugin.
    fn installing(label: &str, scratch: Scratch, plugin: &Path) -> Self {
        let (conf_dir, bin_dir) = (scratch.directory("net.d"), scratch.directory("bin"));
        fs::write(
            conf_dir.join("10-debian.conflist"),
            bridge(&scratch, 1450).to_string(),
        )
        .unwrap();
        let socket = scratch.path("cni.sock");
        let mut mesh = Mesh::builder(label)
            .outside("server")
            .http_address("127.0.0.1:15014")
            .flag("--install-cni=true");
        for (flag, path) in [
            ("--cni-conf-dir", &conf_dir),
            ("--cni-bin-dir", &bin_dir),
            ("--cni-plugin", &plugin.to_owned()),
            ("--cni-socket", &socket),
        ] {
            mesh = mesh.flag(flag).flag(path.to_str().unwrap());
        }
        let mesh = mesh.start().unwrap();
        let runtime = Runtime::new(&mesh.world.node.netns, &conf_dir, &[&bin_dir, Path::new(DEBIAN)]);
        Self {
            mesh,
            runtime,
            conf_dir,
            scratch,
        }
    }

    fn is_ready(&self) -> bool {
        let answer = self.mesh.agent.get("/readyz");
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn ours(&self) -> String {
        fs::read_to_string(self.conf_dir.join(OURS)).unwrap_or_default()
    }

    fn wait_for(&self, text: &str) {
        let has_it = || self.ours().contains(text).then_some(());
        let has_it = eventually(PATIENCE, has_it);
        assert!(
            has_it.is_ok(),
            "{}
{}",
            self.ours(),
            self.mesh.agent.output()
        );
    }

    fn cleanup(&self) -> std::process::Output {
        let directories = [
            "--cni-conf-dir".to_owned(),
            self.conf_dir.display().to_string(),
            "--cni-bin-dir".to_owned(),
            self.scratch.path("bin").display().to_string(),
            "--cni-socket".to_owned(),
            self.scratch.path("cni.sock").display().to_string(),
        ];
        let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
        self.mesh.agent.run("cleanup", &directories).unwrap()
    }
}

fn sandbox(pod: &str, netns: &Netns) -> Sandbox {
    Sandbox {
        id: format!("sandbox-{pod}"),
        netns: netns.path(),
        namespace: "default".to_owned(),
        pod: pod.to_owned(),
        uid: uid(pod),
    }
}

#[test]
fn a_pod_behind_debians_bridge_is_captured_from_its_first_connection() {
    let mut node = Node::new("cni-debian");
    let server = serve(&node.mesh, "server");
    node.mesh.add([awaited("pod")]).unwrap();
    let netns = Netns::new().unwrap();
    let result = node.runtime.add(&sandbox("pod", &netns)).unwrap();
    let address = result["ips"][0]["address"].as_str().unwrap();
    let seen = connect(&netns, server.address().ip()).unwrap();
    assert!(was_redirected(&seen));
    assert_eq!(
        address.split('/').next().unwrap(),
        seen.server.peer.ip().to_string()
    );
    node.runtime.check(&sandbox("pod", &netns), &result).unwrap();
    node.runtime.del(&sandbox("pod", &netns)).unwrap();
    let again = node.runtime.add(&sandbox("pod", &netns)).unwrap();
    assert!(again["ips"].is_array(), "what was taken down is free again");
    node.runtime.del(&sandbox("pod", &netns)).unwrap();
}

#[test]
fn the_plugin_stays_in_the_chain_whatever_happens_to_the_files() {
    let mut node = Node::new("cni-kept");
    assert!(node.ours().contains("1450"));
    let primary = node.conf_dir.join("10-debian.conflist");
    fs::write(&primary, bridge(&node.scratch, 1400).to_string()).unwrap();
    node.wait_for("1400");
    fs::remove_file(node.conf_dir.join(OURS)).unwrap();
    node.wait_for("\"weir-cni\"");
    fs::rename(
        node.conf_dir.join(OURS),
        node.conf_dir.join("0-weir.conflist.cilium_bak"),
    )
    .unwrap();
    node.wait_for("\"weir-cni\"");
    // Half a file is not taken up; the whole is.
    let text = bridge(&node.scratch, 1300).to_string();
    fs::write(&primary, &text[..60]).unwrap();
    let not_ready = || {
        let status = node.mesh.agent.run("status", &["-o", "json"]).ok()?;
        String::from_utf8_lossy(&status.stdout)
            .contains("10-debian.conflist")
            .then_some(())
    };
    eventually(PATIENCE, not_ready).unwrap();
    assert!(node.ours().contains("1400"));
    fs::write(&primary, &text).unwrap();
    node.wait_for("1300");

    node.mesh.agent.kill();
    assert!(
        node.ours().contains("weir-cni"),
        "a node that comes back without an agent starts no pod past the mesh"
    );
    let cleaned = node.cleanup();
    assert!(cleaned.status.success(), "{cleaned:?}");
    assert!(!node.conf_dir.join(OURS).exists());
    assert!(!node.scratch.path("bin/weir-cni").exists() && !node.scratch.path("last-word.json").exists());
    assert!(primary.exists());
    // What is left is the primary CNI's own.
    let netns = Netns::new().unwrap();
    node.runtime.add(&sandbox("pod", &netns)).unwrap();
    node.runtime.del(&sandbox("pod", &netns)).unwrap();
}

#[test]
fn the_plugin_itself_is_put_back_at_once() {
    let node = Node::new("cni-plugin");
    let plugin = node.scratch.path("bin/weir-cni");
    // Each time sooner than by a look that happens every 30 s.
    for _ in 0..3 {
        fs::remove_file(&plugin).unwrap();
        let is_back = eventually(BEFORE_THE_NEXT_LOOK, || plugin.exists().then_some(()));
        assert!(is_back.is_ok(), "{}", node.mesh.agent.output());
    }
}

/// Whoever lifts a node's taint then lets pods start that nobody would capture.
#[test]
fn the_agent_is_not_ready_before_the_plugin_is_in_the_chain() {
    let scratch = Scratch::new("cni-ready");
    let plugin = scratch.path("plugin");
    mkfifo(&plugin, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    // The agent waits for what is to be installed.
    let node = Node::installing("cni-ready", scratch, &plugin);
    let answer = node.mesh.agent.get("/readyz").unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("the CNI plugin's installation"),
        "{answer}"
    );
    assert!(node.ours().is_empty());
    let open = || {
        File::options()
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&plugin)
    };
    let mut pipe = eventually(PATIENCE, || open().ok()).expect("the agent reads it");
    // From the next look on it is a file as any other.
    let file = node.scratch.path("file");
    fs::write(&file, "a plugin").unwrap();
    fs::rename(&file, &plugin).unwrap();
    pipe.write_all(b"a plugin").unwrap();
    drop(pipe);
    node.wait_for("\"weir-cni\"");
    eventually(PATIENCE, || node.is_ready().then_some(())).unwrap();
}

#[test]
fn beside_istio_the_agent_does_not_start_unless_it_is_to_take_over() {
    let mut node = Node::new("cni-istio");
    node.mesh.agent.terminate().unwrap();
    let mut istio = bridge(&node.scratch, 1450);
    istio["plugins"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "istio-cni"}));
    fs::write(node.conf_dir.join("02-istio-cni.conflist"), istio.to_string()).unwrap();
    let before = node.ours();
    node.mesh.agent.restart().unwrap();
    let refused = || {
        node.mesh
            .agent
            .output_since_start()
            .contains("--take-over")
            .then_some(())
    };
    eventually(PATIENCE, refused).unwrap();
    assert_eq!(node.ours(), before);

    fs::remove_file(node.conf_dir.join(OURS)).unwrap();
    node.mesh.agent.add_flag("--take-over=true");
    node.mesh.agent.restart().unwrap();
    node.wait_for("\"weir-cni\"");
    assert!(!node.ours().contains("istio-cni"));
    assert!(
        node.conf_dir.join("02-istio-cni.conflist").exists(),
        "Istio's file is Istio's"
    );
}
