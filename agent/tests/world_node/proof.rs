//! What the operator's commands say of such pods.

use std::fs;
use std::os::fd::AsFd as _;

use weir_agent::datapath::{Hook, Maps, Pins, sys};
use weir_agent::inside;
use weir_netdetect::facts::Direction;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::world::Wiring;

use crate::macvlan;
use crate::scene::{builder, by, mesh, programs, run};

fn verify(mesh: &Mesh) -> (bool, String) {
    let output = mesh.agent.run("verify", &["-o", "json"]).unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// Takes away what runs where packets leave for the pod, and nothing else: a connection out of the pod misses nothing.
fn take_away(mesh: &Mesh, pod: &str, hook: Hook) {
    let interface = mesh.pod(pod).host_interface().unwrap();
    if hook == Hook::Clsact {
        run(
            &mesh.world.node.netns,
            &format!("tc filter del dev {interface} egress"),
        );
        return;
    }
    take_away_links(mesh, "weir_pod_in");
}

fn take_away_links(mesh: &Mesh, program: &str) {
    let pins = Pins::new(mesh.agent.pin_root()).pods();
    for pod in fs::read_dir(pins).unwrap() {
        let links = fs::read_dir(pod.unwrap().path()).unwrap();
        for link in links.map(|link| link.unwrap().path()) {
            if link.display().to_string().contains(program) {
                let pinned = sys::obj_get(&link).unwrap();
                sys::link_detach(pinned.as_fd()).unwrap();
                fs::remove_file(link).unwrap();
            }
        }
    }
}

fn verification_finds_and_mends_programs_that_are_gone(hook: Hook) {
    let mesh = builder("node-verify", Wiring::PointToPoint)
        .flag(&by(hook))
        .start()
        .unwrap();
    let (well, report) = verify(&mesh);
    assert!(well, "{report}");
    let both = [
        (Direction::Ingress, "weir_pod_out".to_owned()),
        (Direction::Egress, "weir_pod_in".to_owned()),
    ];
    assert_eq!(programs(&mesh, "client"), both);
    take_away(&mesh, "client", hook);
    let (well, report) = verify(&mesh);
    assert!(well, "{report}");
    // Whoever noticed it first: verification, or the look at the pod when the last of its routes has settled.
    assert_eq!(programs(&mesh, "client"), both, "nothing was mended: {report}");
}

#[test]
fn verification_finds_and_mends_links_that_are_gone() {
    verification_finds_and_mends_programs_that_are_gone(Hook::of_this_kernel());
}

#[test]
fn verification_finds_and_mends_filters_that_are_gone() {
    verification_finds_and_mends_programs_that_are_gone(Hook::Clsact);
}

/// What is gone here no connection out of the pod misses.
#[test]
fn verification_finds_and_mends_what_pods_on_macvlan_need() {
    for (outbound, hook) in [("socket", Hook::of_this_kernel()), ("steer", Hook::Clsact)] {
        let builder = macvlan::builder("node-verify-macvlan", outbound).flag(&by(hook));
        let mesh = builder.start().unwrap();
        let (well, report) = verify(&mesh);
        assert!(well, "{report}");
        let netns = &mesh.pod("client").netns;
        let steering = || weir_netdetect::read::node(netns.as_fd()).unwrap().programs.len();
        assert_eq!(steering(), 2);
        let maps = Maps::adopt(&Pins::new(mesh.agent.pin_root()));
        let cookie = inside::cookie(netns.as_fd()).unwrap();
        let is_made = || maps.detours().is_ok_and(|made| made.get(&cookie, 0).is_ok());
        assert_eq!(is_made(), outbound == "socket");
        if is_made() {
            maps.detours().unwrap().remove(&cookie).unwrap();
            let (well, report) = verify(&mesh);
            assert!(well && is_made(), "{report}");
        }
        match hook {
            Hook::Tcx => take_away_links(&mesh, "weir_steer_in"),
            Hook::Clsact => _ = run(netns, "tc filter del dev eth0 ingress"),
        }
        let (well, report) = verify(&mesh);
        assert!(well, "{report}");
        assert_eq!(steering(), 2, "{report}");
    }
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
