//! What a container runtime keeps from the agent, and what the agent makes of it. The container is made by hand: a process
//! namespace whose first process stands for the node, and in it a mount and a cgroup namespace of its own.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    reason = "a test that cannot go on says so by a panic; each uses its part of what tests share"
)]

mod enrolled;
mod own_datapath;

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use enrolled::Pod;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use own_datapath::OwnDatapath;
use serde_json::Value;
use weir_agent::enroll::filters::Filters;
use weir_agent::enroll::{EnrollError, Enroller};
use weir_netdetect::choose::Contract;
use weir_testbeds::unique;

/// Runs `script` as a container's only process would run. `$WEIR` is the program, `$NODE` a directory of this test's own.
fn contained(script: &str) -> Output {
    let directory = std::env::temp_dir().join(unique::name("container"));
    std::fs::create_dir(&directory).unwrap();
    let locked = format!("mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys\n{script}");
    let output = Command::new("timeout")
        .args(["--kill-after", "5", "60", "unshare"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args([
            "sh",
            "-c",
            r#"unshare --mount --cgroup sh -c "$0"; exit $?"#,
            &locked,
        ])
        .env("WEIR", env!("CARGO_BIN_EXE_weir"))
        .env("NODE", &directory)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn world_a_container_has_read_only_sysctls_and_the_agent_writes_them() {
    let output = contained("touch /proc/sys/net/ipv4/fwmark_reflect 2>&1; $WEIR check --output json");
    let stdout = text(&output.stdout);
    let (refusal, report) = stdout.split_once('\n').unwrap();
    assert!(refusal.contains("Read-only"), "this is no container: {refusal}");
    let report: Value = serde_json::from_str(report).unwrap();
    let features = report["features"].as_array().unwrap();
    let sysctl = features
        .iter()
        .find(|line| line["feature"] == "net.ipv4.fwmark_reflect");
    assert_eq!(sysctl.unwrap()["state"], "ok", "{report:#}");
}

#[test]
fn world_the_agent_sees_cgroups_as_the_node_does() {
    let pins = Path::new("/sys/fs/bpf").join(unique::name("container"));
    let script = format!(
        r#"
        echo 'pods: []' >$NODE/pods.yaml
        readlink /proc/self/ns/cgroup
        $WEIR agent --pods-file $NODE/pods.yaml --zds-socket $NODE/zds.sock --admin-socket $NODE/admin.sock \
            --http-address none --pin-root {pins} --remove-on-exit --log-format text 2>$NODE/log &
        for try in $(seq 200); do $WEIR status --admin-socket $NODE/admin.sock >/dev/null 2>&1 && break; sleep 0.05; done
        readlink /proc/$!/ns/cgroup /proc/1/ns/cgroup
        kill $! && wait $! || cat $NODE/log"#,
        pins = pins.display()
    );
    let output = contained(&script);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let seen: Vec<&str> = stdout.lines().collect();
    assert_eq!(seen.len(), 3, "{stdout}{stderr}");
    assert_ne!(seen[0], seen[2], "this is no container");
    assert_eq!(seen[1], seen[2], "{stdout}");
    assert!(!pins.exists());
}

#[test]
fn world_pins_that_would_end_with_the_container_are_refused() {
    let script = "umount /sys/fs/bpf\necho 'pods: []' >$NODE/pods.yaml\n\
        $WEIR agent --pods-file $NODE/pods.yaml --zds-socket $NODE/zds.sock --admin-socket $NODE/admin.sock \
        --http-address none";
    let output = contained(script);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("mount it on the node"), "{said}");
}

/// Has the calling thread, and those that it starts, see sysctls read-only, as a runtime does.
fn lock_sysctls() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let (none, sysctls): (Option<&str>, _) = (None, "/proc/sys");
    let mounted = |source, at, flags| mount(source, at, none, flags, none).unwrap();
    mounted(none, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    mounted(Some(sysctls), sysctls, MsFlags::MS_BIND);
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mounted(none, sysctls, read_only);
}

/// What would be noted as switched on could never be switched back, and the pod's entry would stay for it.
#[test]
fn world_an_enrolment_that_may_not_switch_settings_leaves_nothing() {
    let (own, pod) = (OwnDatapath::new("locked"), Pod::new());
    let enroller = Enroller::new(Arc::clone(&own.datapath), 0);
    let locked = || {
        lock_sysctls();
        let wanted = (Contract::InPod, &Filters::default());
        enroller.enroll(pod.netns.as_fd(), pod.cookie, wanted, None, &mut None)
    };
    let enrolled = thread::scope(|scope| scope.spawn(locked).join().unwrap());
    assert!(
        matches!(enrolled, Err(EnrollError::Sysctl { .. })),
        "{enrolled:?}"
    );
    assert!(!enroller.knows(pod.cookie).unwrap());
}
