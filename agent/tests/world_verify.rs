//! `weir verify` finds what is broken, mends what enrolment can mend, and says both.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::Output;

use serde_json::Value;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::world::{Family, Wiring};

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

#[test]
fn a_proxy_that_is_gone_is_a_problem() {
    let mut mesh = mesh("verify-gone");
    mesh.proxy.kill();
    let (code, report) = verify(&mesh);
    assert_eq!(code, 1, "{report:#}");
    let problems = checks(&report, "problems");
    assert!(problems.contains(&"connection".to_owned()), "{report:#}");
}
