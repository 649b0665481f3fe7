//! What is read of the node, and which plugin is taken to have connected its pods.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::Command;

use weir_netdetect::cni::{self, Cni, Confidence, Configuration, Identity};
use weir_netdetect::facts::{Leftover, NodeFacts};
use weir_netdetect::read;
use weir_testbeds::drivers::unless_missing;
use weir_testbeds::link::Device;
use weir_testbeds::rule::Rule;
use weir_testbeds::unique;
use weir_testbeds::world::{Family, Wiring, World};

use crate::support::facts;
use crate::wiring_table::rows;

/// A directory that is gone when dropped.
struct Directory(PathBuf);

impl Directory {
    fn with(files: &[(&str, &str)]) -> Self {
        let directory = Self(std::env::temp_dir().join(unique::name("cni")));
        fs::create_dir(&directory.0).unwrap();
        for (name, text) in files {
            fs::write(directory.0.join(name), text).unwrap();
        }
        directory
    }

    fn read(&self) -> Configuration {
        cni::read(&self.0)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn node(world: &World) -> NodeFacts {
    read::node(world.node.netns.as_fd()).unwrap()
}

fn identity(world: &World, configuration: Option<&Configuration>) -> Identity {
    let facts = facts(world, "pod");
    cni::identify(&facts, facts.primary().unwrap(), &node(world), configuration)
}

/// The plugin, how sure that is without configuration, and the type that it is configured by.
fn expected(wiring: Wiring) -> (Cni, Confidence, &'static str) {
    match wiring {
        Wiring::Bridge => (Cni::Bridge, Confidence::Weak, "bridge"),
        Wiring::PointToPoint => (Cni::Calico, Confidence::Likely, "calico"),
        Wiring::AzureTransparent => (Cni::AzureTransparent, Confidence::Likely, "azure-vnet"),
        Wiring::AzureBridge => (Cni::AzureBridge, Confidence::Likely, "azure-vnet"),
        Wiring::AwsVpc => (Cni::AwsVpc, Confidence::Likely, "aws-cni"),
        Wiring::Gke => (Cni::Gke, Confidence::Likely, "ptp"),
        Wiring::MacvlanBridge | Wiring::MacvlanVepa | Wiring::MacvlanPrivate | Wiring::MacvlanPassthru => {
            (Cni::Macvlan, Confidence::Likely, "macvlan")
        }
        Wiring::Device => (Cni::Device, Confidence::Likely, "sriov"),
        Wiring::IpvlanL2 | Wiring::IpvlanL3 | Wiring::IpvlanL3s => {
            (Cni::Ipvlan, Confidence::Likely, "ipvlan")
        }
        Wiring::Netkit => (Cni::Cilium, Confidence::Likely, "cilium-cni"),
        Wiring::Vlan => (Cni::Vlan, Confidence::Likely, "vlan"),
    }
}

#[test]
fn the_plugin_is_named_and_how_sure_that_is() {
    for wiring in rows().map(|row| row.wiring) {
        let built = World::builder("cni")
            .wiring(wiring)
            .family(Family::Dual)
            .pods(["pod"])
            .build();
        let Some(world) = unless_missing(wiring, built).unwrap() else {
            continue;
        };
        let (name, confidence, plugin) = expected(wiring);
        let seen = identity(&world, None);
        assert_eq!(
            (seen.cni, seen.confidence),
            (name, confidence),
            "{wiring:?}: {seen:?}"
        );
        let text = format!(r#"{{"plugins":[{{"type":"{plugin}"}},{{"type":"portmap"}}]}}"#);
        let directory = Directory::with(&[
            ("10-it.conflist", &text),
            ("20-other.conf", r#"{"type":"loopback"}"#),
        ]);
        let configured = identity(&world, Some(&directory.read()));
        assert_eq!(configured.cni, name, "{wiring:?}: {configured:?}");
        assert!(
            configured.confidence > seen.confidence,
            "{wiring:?}: {configured:?}"
        );
        assert!(configured.clues.len() > seen.clues.len());
    }
}

#[test]
fn a_bridge_with_flannel_s_interface_is_flannel_s() {
    let world = World::builder("flannel").pods(["pod"]).build().unwrap();
    let add = async |netlink: weir_testbeds::netlink::Netlink| {
        netlink.add_bridge(&Device::named("flannel.1")).await
    };
    world.node.netns.netlink(add).unwrap();
    let seen = identity(&world, None);
    assert_eq!((seen.cni, seen.confidence), (Cni::Flannel, Confidence::Likely));
}

#[test]
fn a_pair_that_looks_like_nobody_s_is_unknown() {
    let world = World::builder("nobody").build().unwrap();
    let pod = weir_testbeds::netns::Netns::new().unwrap();
    let add = async |netlink: weir_testbeds::netlink::Netlink| {
        let (here, there) = (Device::named("x0"), Device::named("eth0"));
        netlink.add_veth(&here, &there, &pod).await
    };
    world.node.netns.netlink(add).unwrap();
    let facts = crate::support::facts_of(&world, &pod);
    let seen = cni::identify(&facts, facts.primary().unwrap(), &node(&world), None);
    assert_eq!(
        (seen.cni, seen.confidence, seen.clues.len()),
        (Cni::Unknown, Confidence::None, 0)
    );
}

#[test]
fn peers_bridges_and_settings_of_the_node_are_read() {
    let world = World::builder("peers")
        .family(Family::Dual)
        .pods(["pod"])
        .build()
        .unwrap();
    let node = node(&world);
    let mut facts = facts(&world, "pod");
    node.name_far_ends(&mut facts);
    let eth0 = facts.primary().unwrap();
    let name = eth0.far_end.as_ref().unwrap().name.clone();
    assert_eq!(name.as_deref(), world.pod("pod").host_interface());
    let peer = node.interface(eth0.host_peer().unwrap()).unwrap();
    let bridge = node.interface(peer.controller.unwrap()).unwrap();
    assert_eq!(bridge.name, "cni0");
    assert_eq!(node.settings.forward_v4, Some(true));
    assert_eq!(node.settings.rp_filter, Some(1));
    assert_eq!(node.leftovers, []);
    assert_eq!(node.programs, []);
    assert!(node.is_nested(), "its uplink is a veth");
}

#[test]
fn rules_of_the_node_that_use_our_marks_are_found() {
    let world = World::builder("rules").pods(["pod"]).build().unwrap();
    let add = async |netlink: weir_testbeds::netlink::Netlink| {
        netlink.add_rule(&Rule::v4(100, 100).mark(0x539, 0xfff)).await
    };
    world.node.netns.netlink(add).unwrap();
    let node = node(&world);
    assert!(
        node.rules
            .iter()
            .any(|rule| rule.preference == 100 && rule.clash().is_some())
    );
}

#[test]
fn what_istio_cni_left_is_found_with_what_to_do_about_it() {
    let world = World::builder("istio").build().unwrap();
    let ruleset = "add table ip nat; add chain ip nat POSTROUTING; add chain ip nat ISTIO_POSTRT; \
         add table inet istio-ambient-nat; add chain inet istio-ambient-nat x";
    nft(&world, ruleset);
    let node = node(&world);
    let chain = |table: &str, chain: &str| Leftover::Chain {
        table: table.to_owned(),
        chain: chain.to_owned(),
    };
    let expected = [chain("nat", "ISTIO_POSTRT"), chain("istio-ambient-nat", "x")];
    assert_eq!(node.leftovers, expected);
    assert!(node.leftovers.iter().all(|left| !left.remedy().is_empty()));
}

fn nft(world: &World, ruleset: &str) {
    let status = world.node.netns.run(|| Command::new("nft").arg(ruleset).status());
    let status = status.expect("nft is needed: apt-get install nftables");
    assert!(status.success(), "nft: {status}");
}

#[test]
fn configuration_is_read_in_the_runtime_s_order_and_bad_files_do_not_hide_good_ones() {
    let directory = Directory::with(&[
        ("00-half.conflist", r#"{"plugins":[{"type":"cal"#),
        ("05-istio.conflist", r#"{"plugins":[{"type":"istio-cni"}]}"#),
        ("10-late.conf", r#"{"type":"bridge","bridge":"cni0"}"#),
        ("99-note.txt", "not configuration"),
    ]);
    let configuration = directory.read();
    let names: Vec<_> = configuration
        .networks
        .iter()
        .map(|network| network.path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["05-istio.conflist", "10-late.conf"]);
    assert_eq!(configuration.problems.len(), 1);
    assert!(configuration.problems[0].to_string().contains("00-half.conflist"));
    assert_eq!(configuration.with_istio_cni().count(), 1);
    assert_eq!(configuration.picked().unwrap().plugins[0].kind, "istio-cni");
    let missing = cni::read(&directory.0.join("nowhere"));
    assert!(missing.networks.is_empty());
    assert!(missing.problems[0].to_string().contains("is it the directory"));
}
