//! Debian's CNI plugins, called as a container runtime calls them: what they make is named for what it is.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use weir_netdetect::choose::{ChoiceConfig, Contract, Path as Way};
use weir_netdetect::cni::{Cni, Confidence};
use weir_netdetect::report::{Detected, Detector};
use weir_testbeds::link::Device;
use weir_testbeds::netlink::Netlink;
use weir_testbeds::netns::Netns;
use weir_testbeds::unique;
use weir_testbeds::world::World;

/// Where distributions put the plugins.
const DIRECTORIES: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
/// Set where every driver has to be there, so that nothing is skipped.
const ALL_DRIVERS: &str = "WEIR_ALL_DRIVERS";

/// A node, a pod, and a directory of configuration.
struct Runtime {
    world: World,
    pod: Netns,
    directory: PathBuf,
    plugins: PathBuf,
}

impl Runtime {
    fn new(name: &str) -> Self {
        let plugins = DIRECTORIES
            .iter()
            .map(PathBuf::from)
            .find(|path| path.join("bridge").exists());
        let plugins = plugins.unwrap_or_else(|| {
            panic!("no CNI plugins in {DIRECTORIES:?}: apt-get install containernetworking-plugins")
        });
        let directory = std::env::temp_dir().join(unique::name(name));
        fs::create_dir(&directory).unwrap();
        Self {
            world: World::builder(name).build().unwrap(),
            pod: Netns::new().unwrap(),
            directory,
            plugins,
        }
    }

    /// Addresses from a range of its own; what is given out is remembered in a directory of its own.
    fn ipam(&self, subnet: &str) -> Value {
        json!({
            "type": "host-local",
            "dataDir": self.directory.join("given"),
            "ranges": [[{ "subnet": subnet }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        })
    }

    /// Writes the list to the directory of configuration, and calls its plugins in turn, each with the result before.
    fn add(&self, interface: &str, plugins: &[Value]) -> Result<(), String> {
        let list = json!({ "cniVersion": "1.0.0", "name": "net", "plugins": plugins });
        fs::write(self.directory.join("10-net.conflist"), list.to_string()).unwrap();
        let mut before = None;
        for plugin in plugins {
            before = Some(self.call("ADD", interface, plugin, before.as_ref())?);
        }
        Ok(())
    }

    /// Takes it back, the last plugin first.
    fn delete(&self, interface: &str, plugins: &[Value]) {
        for plugin in plugins.iter().rev() {
            self.call("DEL", interface, plugin, None).unwrap();
        }
    }

    fn call(
        &self,
        command: &str,
        interface: &str,
        plugin: &Value,
        before: Option<&Value>,
    ) -> Result<Value, String> {
        let mut config = plugin.clone();
        config["cniVersion"] = json!("1.0.0");
        config["name"] = json!("net");
        if let Some(before) = before {
            config["prevResult"] = before.clone();
        }
        let program = self.plugins.join(plugin["type"].as_str().unwrap());
        let mut call = Command::new(&program);
        call.env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", "sandbox")
            .env("CNI_NETNS", self.pod.path())
            .env("CNI_IFNAME", interface)
            .env("CNI_PATH", &self.plugins)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let output = self.world.node.netns.run(|| {
            let mut child = call.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(config.to_string().as_bytes()).unwrap();
            drop(stdin);
            child.wait_with_output().unwrap()
        });
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(format!("{} {command}: {text}", program.display()));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    fn detect(&self) -> Detected {
        let host = self.world.node.netns.as_fd();
        let detector = Detector::new(host, &self.directory, Contract::Node, ChoiceConfig::default()).unwrap();
        detector.pod(Path::new("pod"), self.pod.as_fd(), None).unwrap()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// What has to be detected of an interface.
fn assert_named(detected: &Detected, interface: &str, cni: Cni, confidence: Confidence, paths: (Way, Way)) {
    let connected = detected
        .plugins
        .iter()
        .find(|connected| connected.interface == interface);
    let identity = &connected.unwrap().identity;
    assert_eq!(
        (identity.cni, identity.confidence),
        (cni, confidence),
        "{identity:?}"
    );
    let plan = detected.plan.interface(interface).unwrap();
    assert_eq!((plan.outbound.path, plan.inbound.path), paths, "{plan:?}");
}

/// Calls a list of plugins for `eth0`, checks what is detected, and takes it back.
fn check(runtime: &Runtime, plugins: &[Value], cni: Cni, confidence: Confidence, paths: (Way, Way)) {
    if let Err(error) = runtime.add("eth0", plugins) {
        let kind = plugins[0]["type"].as_str().unwrap();
        let required = std::env::var_os(ALL_DRIVERS).is_some();
        let lacks = error.contains("operation not supported") && ["ipvlan", "vlan"].contains(&kind);
        assert!(lacks && !required, "{error}");
        println!("this kernel has no driver for {kind}; `./x test vm` tries it on one that has");
        return;
    }
    let detected = runtime.detect();
    assert_named(&detected, "eth0", cni, confidence, paths);
    let eth0 = detected.facts.interface_named("eth0").unwrap();
    assert_eq!(
        eth0.addresses.iter().filter(|address| address.is_ipv4()).count(),
        1
    );
    runtime.delete("eth0", plugins);
    assert_eq!(runtime.detect().facts.interface_named("eth0"), None);
}

#[test]
fn bridge() {
    let runtime = Runtime::new("p-bridge");
    let plugin = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": runtime.ipam("10.66.0.0/24"),
    });
    check(
        &runtime,
        &[plugin],
        Cni::Bridge,
        Confidence::Likely,
        (Way::Tc, Way::Tc),
    );
}

#[test]
fn a_chain() {
    let runtime = Runtime::new("p-chain");
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": runtime.ipam("10.66.1.0/24"),
    });
    let tuning = json!({ "type": "tuning", "mtu": 1400 });
    let chain = [bridge, tuning];
    runtime.add("eth0", &chain).unwrap();
    assert_eq!(runtime.detect().facts.interface_named("eth0").unwrap().mtu, 1400);
    runtime.delete("eth0", &chain);
    check(
        &runtime,
        &chain,
        Cni::Bridge,
        Confidence::Likely,
        (Way::Tc, Way::Tc),
    );
}

#[test]
fn ptp() {
    let runtime = Runtime::new("p-ptp");
    let plugin = json!({ "type": "ptp", "ipam": runtime.ipam("10.66.2.0/24") });
    check(
        &runtime,
        &[plugin],
        Cni::PointToPoint,
        Confidence::Likely,
        (Way::Tc, Way::Tc),
    );
}

#[test]
fn macvlan_in_every_mode() {
    for (mode, inbound) in [
        ("bridge", Way::Steer),
        ("vepa", Way::NotCaptured),
        ("private", Way::NotCaptured),
        ("passthru", Way::NotCaptured),
    ] {
        let runtime = Runtime::new("p-macvlan");
        let ipam = runtime.ipam("10.66.3.0/24");
        let plugin = json!({ "type": "macvlan", "master": "eth0", "mode": mode, "ipam": ipam });
        check(
            &runtime,
            &[plugin],
            Cni::Macvlan,
            Confidence::Certain,
            (Way::Socket, inbound),
        );
    }
}

#[test]
fn ipvlan_in_every_mode() {
    for mode in ["l2", "l3", "l3s"] {
        let runtime = Runtime::new("p-ipvlan");
        let ipam = runtime.ipam("10.66.4.0/24");
        let plugin = json!({ "type": "ipvlan", "master": "eth0", "mode": mode, "ipam": ipam });
        let paths = (Way::Socket, Way::NotCaptured);
        check(&runtime, &[plugin], Cni::Ipvlan, Confidence::Certain, paths);
    }
}

#[test]
fn vlan() {
    let runtime = Runtime::new("p-vlan");
    let ipam = runtime.ipam("10.66.5.0/24");
    let plugin = json!({ "type": "vlan", "master": "eth0", "vlanId": 5, "ipam": ipam });
    let paths = (Way::Socket, Way::NotCaptured);
    check(&runtime, &[plugin], Cni::Vlan, Confidence::Certain, paths);
}

#[test]
fn host_device() {
    let runtime = Runtime::new("p-device");
    let node = runtime.world.node.netns.clone();
    let add = async |netlink: Netlink| {
        netlink
            .add_veth(&Device::named("fabric"), &Device::named("vf0"), &node)
            .await
    };
    runtime.world.remote.netns.netlink(add).unwrap();
    let plugin = json!({ "type": "host-device", "device": "vf0", "ipam": runtime.ipam("10.66.6.0/24") });
    let paths = (Way::Socket, Way::NotCaptured);
    check(&runtime, &[plugin], Cni::Device, Confidence::Certain, paths);
}

#[test]
fn a_second_interface_by_another_plugin() {
    let runtime = Runtime::new("p-second");
    let macvlan = json!({
        "type": "macvlan", "master": "eth0", "mode": "bridge",
        "ipam": { "type": "host-local", "dataDir": runtime.directory.join("given"), "subnet": "10.66.8.0/24" },
    });
    runtime.add("net1", &[macvlan]).unwrap();
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": runtime.ipam("10.66.7.0/24"),
    });
    runtime.add("eth0", &[bridge]).unwrap();
    let detected = runtime.detect();
    assert_named(
        &detected,
        "eth0",
        Cni::Bridge,
        Confidence::Likely,
        (Way::Tc, Way::Tc),
    );
    assert_named(
        &detected,
        "net1",
        Cni::Macvlan,
        Confidence::Likely,
        (Way::Steer, Way::Steer),
    );
    assert_eq!(
        detected.plan.outbound.path,
        Way::Tc,
        "the first interface has the default route"
    );
}
