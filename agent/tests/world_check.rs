//! `weir check` on this machine. Needs root, and a kernel that has everything.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod cgroup;

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weir_agent::datapath::sys::{self, AttachType, Insn, ProgramSpec, ProgramType, Register};

use cgroup::{ChildCgroup, cgroup2_root};

/// The user without rights.
const NOBODY: u32 = 65534;

/// Runs a command; its process id is what names everything that it makes.
fn run(command: &mut Command) -> (u32, Output) {
    let child: Child = command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child.id(), child.wait_with_output().unwrap())
}

fn weir(arguments: &[&str]) -> (u32, Output) {
    run(Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("the answer is JSON")
}

/// The line of a feature in the answer.
fn feature<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let features = answer["features"].as_array().unwrap();
    features
        .iter()
        .find(|line| line["feature"] == name)
        .expect("the feature has a line")
}

/// Directories and files of this process's probes.
fn traces(pid: u32) -> Vec<PathBuf> {
    let prefix = format!("weir_check_{pid}_");
    let is_trace = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix);
    let entries = |directory: &Path| {
        fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    [cgroup2_root(), Path::new("/sys/fs/bpf")]
        .into_iter()
        .flat_map(entries)
        .filter(is_trace)
        .collect()
}

fn assert_nothing_stays(pid: u32) {
    assert_eq!(traces(pid), Vec::<PathBuf>::new(), "stays behind");
}

#[test]
fn root_on_this_kernel_has_everything() {
    let (pid, output) = weir(&["check", "-o", "json"]);
    let answer = json(&output);
    let lacking: Vec<_> = answer["features"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["state"] != "ok")
        .collect();
    assert!(lacking.is_empty(), "{lacking:#?}");
    assert_eq!(answer["readiness"], "ready");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_nothing_stays(pid);
}

/// Whether a check was interrupted while its cgroup was there; it may have been too quick for that.
fn interrupt_a_check() -> bool {
    // Who runs the tests in the background of a shell has them ignore SIGINT.
    let mut child = Command::new("env")
        .args(["--default-signal=INT", env!("CARGO_BIN_EXE_weir"), "check"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    while traces(pid).is_empty() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
    }
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT).unwrap();
    let status = child.wait().unwrap();
    assert_nothing_stays(pid);
    status.signal() == Some(Signal::SIGINT as i32)
}

#[test]
fn an_interrupted_check_cleans_up_and_then_ends() {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !interrupt_a_check() {
        assert!(
            Instant::now() < deadline,
            "no check was interrupted in the middle"
        );
    }
}

#[test]
fn people_get_a_table_without_colours_in_a_pipe() {
    let (_, output) = weir(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("FEATURE "), "{text}");
    assert!(text.ends_with("\nready\n"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

/// The binary where everybody may run it, removed when dropped.
struct PublicBinary(PathBuf);

impl PublicBinary {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("weir_public_{}", std::process::id()));
        // By another process: a descriptor for writing, inherited by a neighbour's child, would make it "busy".
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_weir"))
            .arg(&path)
            .status()
            .unwrap();
        assert!(copied.success());
        Self(path)
    }
}

impl Drop for PublicBinary {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn as_nobody(binary: &Path, arguments: &[&str]) -> (u32, Output) {
    run(Command::new(binary).args(arguments).uid(NOBODY).gid(NOBODY))
}

#[test]
fn nobody_is_told_which_rights_are_missing() {
    let binary = PublicBinary::new();
    let (pid, output) = as_nobody(&binary.0, &["check", "-o", "json"]);
    let answer = json(&output);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(answer["readiness"], "unusable");
    for name in [
        "CAP_BPF",
        "map hash",
        "cgroup/connect4",
        "sk_lookup",
        "bpf_sk_assign in tc",
    ] {
        assert_eq!(feature(&answer, name)["state"], "denied", "{name}");
    }
    for name in ["kernel", "cgroup2", "SO_NETNS_COOKIE"] {
        assert_eq!(
            feature(&answer, name)["state"],
            "ok",
            "can be known without rights: {name}"
        );
    }
    assert!(
        feature(&answer, "CAP_NET_ADMIN")["remedy"]
            .as_str()
            .unwrap()
            .contains("root")
    );
    assert_nothing_stays(pid);

    let (_, output) = as_nobody(&binary.0, &["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("unusable; this process lacks CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN"),
        "{last}"
    );
}

#[test]
fn a_program_that_allows_no_others_is_named() {
    let cgroup = ChildCgroup::new();
    let program = sys::prog_load(&ProgramSpec {
        kind: ProgramType::SOCK_ADDR,
        attach: Some(AttachType::CONNECT4),
        insns: &[Insn::set(Register::R0, 1), Insn::exit()],
        license: c"GPL",
        name: "foreign_lb",
    })
    .unwrap();
    sys::prog_attach(program.as_fd(), cgroup.as_fd(), AttachType::CONNECT4, 0).unwrap();

    let (_, output) = weir(&["check", "-o", "json", "--cgroup", cgroup.path().to_str().unwrap()]);
    let answer = json(&output);
    let connect4 = feature(&answer, "cgroup/connect4");
    assert_eq!(connect4["state"], "missing");
    assert!(
        connect4["why"].as_str().unwrap().contains("foreign_lb"),
        "{connect4}"
    );
    assert!(
        connect4["costs"]
            .as_str()
            .unwrap()
            .starts_with("in-pod socket, dns capture"),
        "{connect4}"
    );
    assert_eq!(feature(&answer, "cgroup/connect6")["state"], "ok");
    assert_eq!(output.status.code(), Some(2), "the node contract still works");
}

#[test]
fn a_wrong_command_line_is_no_answer() {
    for arguments in [&["check", "--bogus"][..], &["-o", "xml", "check"], &[]] {
        let (_, output) = weir(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn the_version_is_told_in_both_forms() {
    let (_, output) = weir(&["version", "-o", "json"]);
    assert_eq!(json(&output)["version"], env!("CARGO_PKG_VERSION"));
    let (_, output) = weir(&["version"]);
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("VERSION  LAYOUT\n")
    );
}
