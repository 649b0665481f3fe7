//! `weir verify` finds what is broken, mends what enrolment can mend, and says both.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use weir_agent::datapath::sys::{self, LinkTarget};
use weir_agent::datapath::{Hook, Maps, Pins};
use weir_agent::inside;
use weir_common::pod::PodEntry;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;
use weir_testbeds::world::{Family, Wiring};

const VIRTUAL_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";

fn mesh(name: &str) -> Mesh {
    Mesh::builder(name)
        .wiring(Wiring::Bridge)
        .family(Family::Dual)
        .enrolled("client")
        .flag("--verify-interval=1h")
        .start()
        .unwrap()
}

fn verify(mesh: &Mesh) -> (i32, Value) {
    let output: Output = mesh.agent.run("verify", &["-o", "json"]).unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), report)
}

fn checks(report: &Value, kind: &str) -> Vec<String> {
    let problems = report["pods"][0]["verified"][kind].as_array().unwrap();
    let name = |problem: &Value| problem["check"].as_str().unwrap().to_owned();
    problems.iter().map(name).collect()
}

#[test]
fn a_pod_that_is_redirected_has_no_problems() {
    let mesh = mesh("verify-well");
    let (code, report) = verify(&mesh);
    assert_eq!(
        (code, &report["pods"][0]["state"]),
        (0, &"enrolled".into()),
        "{report:#}\n{}",
        mesh.agent.output()
    );
    assert_eq!(checks(&report, "problems"), [""; 0], "{report:#}");
    assert_eq!(checks(&report, "mended"), [""; 0], "{report:#}");
}

#[test]
fn what_enrolment_can_mend_is_mended_and_told() {
    let mesh = mesh("verify-mend");
    let netns = &mesh.pod("client").netns;
    let flushed = netns.run(|| {
        std::process::Command::new("ip")
            .args(["rule", "del", "pref", "15"])
            .status()
            .unwrap()
    });
    assert!(flushed.success());
    netns.sysctl_set("net.ipv4.tcp_fwmark_accept", "0").unwrap();
    let (code, report) = verify(&mesh);
    assert_eq!(
        checks(&report, "mended"),
        ["routing", "sysctls", "connection"],
        "{report:#}"
    );
    assert_eq!((code, checks(&report, "problems")), (0, vec![]), "{report:#}");
    assert_eq!(netns.sysctl_get("net.ipv4.tcp_fwmark_accept").unwrap(), "1");
}

/// By links alone, which others may detach; filters are told apart in the same way as those of the node contract.
#[test]
fn programs_at_interfaces_are_put_back() {
    if Hook::of_this_kernel() != Hook::Tcx {
        return eprintln!("this kernel has no links at interfaces");
    }
    let mut mesh = mesh("verify-interfaces");
    let netns = mesh.pod("client").netns.clone();
    ip(&netns, "link add vm0 type veth peer name vm1");
    mesh.change("client", |line| line.annotate(VIRTUAL_INTERFACES, "vm0"))
        .unwrap();
    let links = || {
        let directory = Pins::new(mesh.agent.pin_root()).pod(inside::cookie(netns.as_fd()).unwrap());
        let paths = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let of =
            |path: &PathBuf, program: &str| path.file_name().unwrap().to_str().unwrap().starts_with(program);
        paths
            .filter(|path| of(path, "weir_guard_") || of(path, "weir_virtual_"))
            .collect::<Vec<_>>()
    };
    let is_attached = |path: &PathBuf| {
        let link = sys::obj_get(path).unwrap();
        let target = sys::link_info(link.as_fd()).unwrap().target;
        matches!(target, LinkTarget::Tcx { interface, .. } if interface != 0)
    };
    // The guards of both other interfaces come a moment later, which is no problem.
    let (code, report) = verify(&mesh);
    assert_eq!((code, checks(&report, "problems")), (0, vec![]), "{report:#}");
    eventually(PATIENCE, || (links().len() == 3).then_some(())).unwrap();
    eventually(PATIENCE, || links().iter().all(is_attached).then_some(())).unwrap();
    let broken_and_verified = || {
        for path in links() {
            let link = sys::obj_get(&path).unwrap();
            sys::link_detach(link.as_fd()).unwrap();
            assert!(!is_attached(&path));
        }
        verify(&mesh)
    };
    // Whoever puts the guards there late may do so once more before the verification, and notes it only then.
    let (code, report) = eventually(PATIENCE, || {
        let (code, report) = broken_and_verified();
        (checks(&report, "mended") == ["guard", "virtual"]).then_some((code, report))
    })
    .unwrap();
    assert_eq!((code, checks(&report, "problems")), (0, vec![]), "{report:#}");
    assert_eq!(links().len(), 3);
    assert!(links().iter().all(is_attached));
}

fn ip(netns: &Netns, arguments: &str) {
    let done = netns.run(|| Command::new("ip").args(arguments.split(' ')).status().unwrap());
    assert!(done.success());
}

#[test]
fn a_proxy_that_is_gone_is_a_problem() {
    let mut mesh = mesh("verify-gone");
    mesh.proxy.kill();
    let (code, report) = verify(&mesh);
    assert_eq!(code, 1, "{report:#}");
    let problems = checks(&report, "problems");
    assert!(problems.contains(&"connection".to_owned()), "{report:#}");
}

/// Whoever finds no agent wants to know what the pods are worth meanwhile.
#[test]
fn the_kernel_is_verified_without_an_agent() {
    let mut mesh = mesh("verify-down");
    let netns = mesh.pod("client").netns.clone();
    // A process is what leads to a namespace that has no name.
    let mut idle = std::process::Command::new("sleep");
    idle.arg("60");
    let process = netns.spawn(idle).unwrap();
    mesh.agent.kill();
    let found = |mesh: &Mesh| {
        let (code, report) = verify(mesh);
        let problems = report["pods"][0]["problems"].as_array().unwrap().clone();
        let name = |problem: &Value| problem["check"].as_str().unwrap().to_owned();
        assert_eq!(report["agent"], Value::Null);
        (code, problems.iter().map(name).collect::<Vec<_>>())
    };
    assert_eq!(found(&mesh), (3, vec![]), "all is well, and no agent answers");
    netns.sysctl_set("net.ipv4.tcp_fwmark_accept", "0").unwrap();
    mesh.proxy.kill();
    let (code, problems) = found(&mesh);
    assert_eq!(code, 1);
    assert_eq!(problems, ["sysctls", "listeners", "connection"]);
    drop(process);
    let (code, problems) = found(&mesh);
    assert_eq!(
        (code, problems),
        (1, vec!["entry".to_owned()]),
        "its namespace cannot be found"
    );
}

#[test]
fn without_agent_and_pins_there_is_nothing_to_look_at() {
    let mut mesh = mesh("verify-nothing");
    mesh.agent.terminate().unwrap();
    let cleaned = mesh.agent.run("cleanup", &["-o", "json"]).unwrap();
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    let removed: Value = serde_json::from_slice(&cleaned.stdout).unwrap();
    assert_eq!(removed["pins"], mesh.agent.pin_root().display().to_string());
    // No process and no name leads to the pod's namespace.
    let cookie = weir_agent::inside::cookie(mesh.pod("client").netns.as_fd()).unwrap();
    assert_eq!(removed["gone"], serde_json::json!([cookie]), "{removed:#}");
    for command in ["status", "verify", "trace"] {
        let answer = mesh.agent.run(command, &[]).unwrap();
        assert_eq!(answer.status.code(), Some(3), "{command}: {answer:?}");
        assert!(
            String::from_utf8_lossy(&answer.stderr).contains("no agent answers"),
            "{command}: {answer:?}"
        );
    }
}

/// Whoever has lost its entry is out of the mesh, whatever the agent remembers.
#[test]
fn a_lost_entry_is_made_anew_and_captures() {
    for outside in [false, true] {
        let builder = Mesh::builder("verify-entry")
            .enrolled("client")
            .flag("--verify-interval=1h");
        let mesh = match outside {
            true => builder.ztunnel_outside(Wiring::Bridge),
            false => builder,
        };
        let mesh = mesh.start().unwrap();
        let cookie = weir_agent::inside::cookie(mesh.pod("client").netns.as_fd()).unwrap();
        let mut pods = Maps::adopt(&Pins::new(mesh.agent.pin_root())).pods().unwrap();
        let before =
            pods.get(&cookie, 0).unwrap().entry.flags & (PodEntry::CAPTURING | PodEntry::REDIRECTING);
        assert_ne!(before, 0);
        pods.remove(&cookie).unwrap();
        let (code, report) = verify(&mesh);
        assert_eq!((code, checks(&report, "problems")), (0, vec![]), "{report:#}");
        assert!(
            checks(&report, "mended").contains(&"entry".to_owned()),
            "{report:#}"
        );
        let after = pods.get(&cookie, 0).unwrap().entry.flags & (PodEntry::CAPTURING | PodEntry::REDIRECTING);
        assert_eq!(after, before);
    }
}

/// What is found meanwhile is what leaving does.
#[test]
fn a_pod_that_leaves_while_it_is_looked_at_has_no_problems() {
    let mut mesh = mesh("verify-leaving");
    for _ in 0..5 {
        let stop = AtomicBool::new(false);
        let mut command = mesh.agent.command("verify").unwrap();
        command.stdout(Stdio::null());
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    command.status().unwrap();
                }
            });
            let left = mesh.relabel("client", false);
            stop.store(true, Ordering::Relaxed);
            left.unwrap();
        });
        mesh.relabel("client", true).unwrap();
    }
    let log = mesh.agent.output();
    assert!(!log.contains("verification failed"), "{log}");
}
