//! The agent as a process: what it answers, what it leaves behind, and what it refuses.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use weir_agent::datapath::{Pins, sys};
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::unique;
use weir_testbeds::world::{Wiring, World};

/// An agent of this test's own; everything of it goes with it.
struct Agent {
    directory: PathBuf,
    pin_root: PathBuf,
    process: Option<Child>,
}

impl Agent {
    fn new(label: &str) -> Self {
        let name = unique::name(label);
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("pods.yaml"), "pods: []\n").unwrap();
        Self {
            directory,
            pin_root: Path::new("/sys/fs/bpf").join(name),
            process: None,
        }
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.env_clear().arg(subcommand);
        command
            .arg("--admin-socket")
            .arg(self.directory.join("run/admin.sock"));
        command.arg("--pin-root").arg(&self.pin_root);
        command
    }

    fn agent(&self) -> Command {
        let mut command = self.command("agent");
        command.arg("--zds-socket").arg(self.directory.join("zds.sock"));
        command
            .env("WEIR_HOST_NETNS", "/proc/self/ns/net")
            .args(["--http-address", "127.0.0.1:0"]);
        command
    }

    fn start(&mut self, flags: &[&str]) {
        let log = File::create(self.directory.join("log")).unwrap();
        let mut command = self.agent();
        command.arg("--pods-file").arg(self.directory.join("pods.yaml"));
        self.process = Some(command.args(flags).stderr(log).spawn().unwrap());
    }

    /// Starts with a lower limit of descriptors than it may have.
    fn start_with_few_descriptors(&mut self) {
        let mut agent = self.agent();
        agent.arg("--pods-file").arg(self.directory.join("pods.yaml"));
        let mut shell = Command::new("/bin/sh");
        shell
            .env_clear()
            .envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .args(["-c", r#"ulimit -S -n 256; exec "$0" "$@""#])
            .arg(agent.get_program())
            .args(agent.get_args())
            .stderr(File::create(self.directory.join("log")).unwrap());
        self.process = Some(shell.spawn().unwrap());
    }

    fn run(&self, subcommand: &str, arguments: &[&str]) -> Output {
        self.command(subcommand).args(arguments).output().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    /// Where the log says that probes are answered.
    fn http(&self) -> SocketAddr {
        let found = || {
            self.log()
                .lines()
                .find_map(|line| line.rsplit_once("address=")?.1.parse().ok())
        };
        eventually(PATIENCE, found).unwrap()
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http()).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The path behind a flag.
    fn path(&self, flag: &str) -> PathBuf {
        match flag {
            "--admin-socket" => self.directory.join("run/admin.sock"),
            "--zds-socket" => self.directory.join("zds.sock"),
            "--cni-socket" => self.directory.join("cni.sock"),
            _ => self.pin_root.clone(),
        }
    }

    /// Runs it with one path in common with another.
    fn try_beside(&self, other: &Self, common: &str) -> Output {
        // One that is let run would do so for ever.
        let mut command = Command::new("/usr/bin/timeout");
        command
            .env_clear()
            .args(["20", env!("CARGO_BIN_EXE_weir"), "agent"]);
        command.args(["--http-address", "none", "--host-netns", "/proc/self/ns/net"]);
        command.arg("--pods-file").arg(self.directory.join("pods.yaml"));
        for flag in ["--admin-socket", "--zds-socket", "--cni-socket", "--pin-root"] {
            let owner = if flag == common { other } else { self };
            command.arg(flag).arg(owner.path(flag));
        }
        command.output().unwrap()
    }

    /// The node's programs, by the kernel's numbers.
    fn programs(&self) -> BTreeMap<PathBuf, u32> {
        let links = fs::read_dir(Pins::new(&self.pin_root).links()).unwrap();
        let number = |path: PathBuf| {
            let link = sys::obj_get(&path).unwrap();
            let number = sys::link_info(link.as_fd()).unwrap().program_id;
            (path, number)
        };
        links.map(|entry| number(entry.unwrap().path())).collect()
    }

    fn wait_ready(&self) {
        eventually(PATIENCE, || (self.get("/readyz").0 == 200).then_some(())).unwrap();
    }

    fn terminate(&mut self) -> i32 {
        let mut process = self.process.take().unwrap();
        kill(Pid::from_raw(process.id() as i32), Signal::SIGTERM).unwrap();
        let status = eventually(PATIENCE, || process.try_wait().unwrap());
        status.unwrap().code().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap_or_default();
            process.wait().map(drop).unwrap_or_default();
        }
        fs::remove_dir_all(&self.pin_root).unwrap_or_default();
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Names and labels of samples with their values; the heads have to fit.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            family = head.split(' ').next().unwrap();
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(family), "{line} does not belong to {family}");
            assert!(
                samples.insert(name.to_owned(), value.parse().unwrap()).is_none(),
                "{line} twice"
            );
        }
    }
    samples
}

#[test]
fn probes_status_and_the_end() {
    let mut agent = Agent::new("agent");
    fs::remove_file(agent.directory.join("pods.yaml")).unwrap();
    agent.start(&[]);
    assert_eq!(agent.get("/healthz"), (200, "ok\n".to_owned()));
    let (code, body) = agent.get("/readyz");
    assert_eq!(code, 503);
    assert!(body.contains("the first list of pods"), "{body}");

    let world = World::builder("agent")
        .pod("web", Wiring::Bridge)
        .build()
        .unwrap();
    let pod = world.pod("web");
    let pods = format!(
        "pods: [{{name: web, namespace: default, uid: u1, netns: {}, labels: {{istio.io/dataplane-mode: ambient}}}}]\n",
        pod.netns.path().display()
    );
    fs::write(agent.directory.join("new"), pods).unwrap();
    fs::rename(agent.directory.join("new"), agent.directory.join("pods.yaml")).unwrap();
    agent.wait_ready();
    let waits = || {
        let status: Value = serde_json::from_slice(&agent.run("status", &["-o", "json"]).stdout).unwrap();
        (status["pods"][0]["why"] == "waits for a ztunnel to connect").then_some(status)
    };
    let status = eventually(PATIENCE, waits).unwrap();
    assert_eq!(status["pods"][0]["state"], "pending");

    let (code, text) = agent.get("/metrics");
    assert_eq!(code, 200);
    let samples = samples(&text);
    assert_eq!(samples["weir_pods{state=\"pending\"}"], 1.0);
    assert_eq!(samples["weir_ready"], 1.0);
    assert_eq!(samples["weir_map_entries{map=\"weir_pods\"}"], 1.0);
    assert_eq!(samples["weir_map_capacity{map=\"weir_pods\"}"], 1024.0);
    assert_eq!(agent.get("/nothing").0, 404);

    let verified = agent.run("verify", &[]);
    assert_eq!(verified.status.code(), Some(1), "a pod that waits is not well");
    assert_eq!(agent.run("status", &["default/other"]).status.code(), Some(4));

    assert_eq!(agent.terminate(), 0);
    assert!(agent.pin_root.exists(), "traffic goes on without the agent");
    assert!(!agent.directory.join("run/admin.sock").exists());
    let down = agent.run("status", &[]);
    assert_eq!(down.status.code(), Some(3));
    assert!(stderr(&down).contains("no agent answers"), "{down:?}");

    agent.start(&["--remove-on-exit"]);
    agent.wait_ready();
    assert_eq!(agent.terminate(), 0);
    assert!(!agent.pin_root.exists(), "{}", agent.log());
}

#[test]
fn an_agent_takes_all_the_descriptors_that_it_may_have() {
    let mut agent = Agent::new("descriptors");
    agent.start_with_few_descriptors();
    agent.wait_ready();
    let process = agent.process.as_ref().unwrap().id();
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let mut words = line.unwrap().split_whitespace();
    let (soft, hard) = (words.next().unwrap(), words.next().unwrap());
    assert_eq!(soft, hard, "{limits}");
}

#[test]
fn a_second_agent_touches_nothing() {
    let mut agent = Agent::new("second");
    let cni = agent.path("--cni-socket");
    agent.start(&["--cni-socket", cni.to_str().unwrap()]);
    agent.wait_ready();
    eventually(PATIENCE, || cni.exists().then_some(())).unwrap();
    let before = agent.programs();
    let id = agent.process.as_ref().unwrap().id();
    let listens = format!("process {id} already listens here");
    let keeps = format!(
        "{}: another weir agent keeps its programs here",
        agent.pin_root.display()
    );
    // What the two have in common, and what is said of it.
    for (common, said) in [
        ("--admin-socket", &listens),
        ("--zds-socket", &listens),
        ("--cni-socket", &listens),
        ("--pin-root", &keeps),
    ] {
        let other = Agent::new("other");
        let second = other.try_beside(&agent, common);
        assert_eq!(second.status.code(), Some(1), "{common}: {second:?}");
        let complaint = stderr(&second);
        assert!(
            complaint.contains(said) && complaint.contains("stop it"),
            "{common}: {complaint}"
        );
        assert_eq!(agent.get("/readyz").0, 200, "{common}");
        assert_eq!(agent.programs(), before, "{common}");
    }
    // What is left after a crash is in nobody's way.
    agent.process.as_mut().unwrap().kill().unwrap();
    agent.process.take().unwrap().wait().unwrap();
    assert!(agent.directory.join("run/admin.sock").exists());
    agent.start(&[]);
    agent.wait_ready();
}

#[test]
fn wrong_settings_are_named() {
    let agent = Agent::new("wrong");
    let file = agent.directory.join("weir.yaml");
    let says = |yaml: &str, flags: &[&str]| {
        fs::write(&file, yaml).unwrap();
        let output = agent
            .agent()
            .arg("--config")
            .arg(&file)
            .args(flags)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{output:?}");
        stderr(&output)
    };
    assert!(says("{}", &[]).contains("--pods-file"));
    let unknown = says("pod-file: x", &[]);
    assert!(
        unknown.contains("`pod-file`") && unknown.contains("weir.yaml"),
        "{unknown}"
    );
    assert!(says("guard: loud", &[]).contains("`loud`"));
    assert!(says("pods-file: x", &["--verify-interval", "soon"]).contains("\"soon\""));
    let netns = says("pods-file: x", &["--host-netns", "/nowhere"]);
    assert!(
        netns.contains("/nowhere") && netns.contains("--host-netns"),
        "{netns}"
    );
    assert!(!agent.pin_root.exists(), "a wrong setting changes nothing");
}
