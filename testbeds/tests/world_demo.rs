//! What a user sees of the demo, and that it leaves nothing.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_testbeds::residue::Residue;
use weir_testbeds::unique::Owner;

struct Demo {
    child: Option<Child>,
    owner: Owner,
    before: Residue,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_weir-demo"))
            .args(arguments)
            .env_remove("WEIR_ZTUNNEL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let owner = Owner::of(child.id()).unwrap();
        Self {
            child: Some(child),
            owner,
            before: Residue::snapshot_of(owner).unwrap(),
        }
    }

    fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id() as i32), signal).unwrap();
    }

    /// Lines up to one that contains `end`.
    fn read_until(&mut self, end: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut output = BufReader::new(self.child.as_mut().unwrap().stdout.take().unwrap());
        loop {
            let mut line = String::new();
            assert_ne!(
                output.read_line(&mut line).unwrap(),
                0,
                "{end:?} never came: {lines:#?}"
            );
            lines.push(line);
            if lines.last().unwrap().contains(end) {
                // The rest must have somewhere to go.
                self.child.as_mut().unwrap().stdout = Some(output.into_inner());
                return lines;
            }
        }
    }

    fn finish(mut self) -> Output {
        let id = self.id();
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        self.before.assert_unchanged();
        let prefixes = [self.owner.prefix(), format!("weir-demo-{id}-")];
        for directory in [
            "/run/netns".as_ref(),
            "/sys/fs/bpf".as_ref(),
            &*std::env::temp_dir(),
        ] {
            assert_eq!(left(directory, &prefixes), Vec::<String>::new());
        }
        output
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap_or_default();
            child.wait().map(drop).unwrap_or_default();
        }
    }
}

fn left(directory: &Path, prefixes: &[String]) -> Vec<String> {
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// From, to and captured of each row that is as expected.
fn rows(text: &str) -> Vec<[&str; 4]> {
    text.lines()
        .filter(|line| line.ends_with("  ok"))
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().take(4).collect();
            words.try_into().unwrap()
        })
        .collect()
}

fn assert_everybody_is_captured(flags: &[&str]) {
    let output = Demo::start(flags).finish();
    let text = text(&output);
    let expected = [
        ["veth-a", "veth-b", "yes,", "HBONE"],
        ["macvlan-a", "macvlan-b", "yes,", "HBONE"],
        ["veth-a", "remote", "yes,", "plaintext"],
        ["macvlan-a", "remote", "yes,", "plaintext"],
        ["veth-a", "outside", "yes,", "plaintext"],
        ["remote", "veth-b", "yes,", "plaintext"],
        ["remote", "macvlan-b", "yes,", "plaintext"],
        ["outside", "veth-b", "yes,", "plaintext"],
        ["node", "veth-b", "no,", "bypass"],
        ["outside", "remote", "no,", "bypass"],
    ];
    let twice: Vec<_> = expected.iter().flat_map(|row| [*row, *row]).collect();
    assert_eq!(rows(&text), twice, "{text}");
    assert!(text.starts_with("weir check: ready"), "{text}");
    assert!(text.contains("\nall 20 as expected\n"), "{text}");
    assert!(!text.contains('\x1b'), "colours in a pipe");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_table_shows_who_is_captured_and_how() {
    assert_everybody_is_captured(&["--family", "dual"]);
}

#[test]
fn a_proxy_in_a_pod_of_its_own_captures_the_same() {
    assert_everybody_is_captured(&["--family", "dual", "--contract", "node"]);
}

#[test]
fn kept_the_pod_of_the_proxy_has_a_name_too() {
    let mut demo = Demo::start(&["--keep", "--contract", "node"]);
    let printed = demo.read_until("weir status").concat();
    let path = format!("/run/netns/weir-demo-{}-ztunnel", demo.id());
    assert!(Path::new(&path).exists(), "{path}");
    let sockets = printed.lines().find(|line| line.ends_with("ss -ltn")).unwrap();
    let sockets = Command::new("sh").args(["-c", sockets]).output().unwrap();
    assert!(text(&sockets).contains(":15001"), "{sockets:?}");
    demo.signal(Signal::SIGTERM);
    assert_eq!(demo.finish().status.code(), Some(0));
}

#[test]
fn kept_it_has_names_until_a_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut demo = Demo::start(&["--keep", "--family", "v6"]);
        let printed = demo.read_until("weir status").concat();
        for name in ["veth-a", "macvlan-b", "outside", "remote", "node"] {
            let path = format!("/run/netns/weir-demo-{}-{name}", demo.id());
            assert!(Path::new(&path).exists(), "{path}");
        }
        let status = printed.lines().next_back().unwrap().trim();
        let status = Command::new("sh").args(["-c", status]).output().unwrap();
        assert!(text(&status).contains("veth-a"), "{status:?}");
        demo.signal(signal);
        assert_eq!(demo.finish().status.code(), Some(0), "{signal}");
    }
}

#[test]
fn interrupted_it_leaves_nothing() {
    let mut demo = Demo::start(&[]);
    demo.read_until("weir check");
    demo.signal(Signal::SIGINT);
    let output = demo.finish();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(rows(&text(&output)).is_empty());
}

#[test]
fn a_proxy_that_is_not_there_is_an_error() {
    let output = Demo::start(&["--ztunnel", "/nonexistent"]).finish();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("/nonexistent, which is no file"), "{said}");
}
