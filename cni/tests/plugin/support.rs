//! The plugin as a runtime calls it, and an agent that says what the test wants.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};
use weir_cni::protocol::{Answer, Outcome, Request, line};

pub const PREVIOUS: &str = r#"{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0"}], "ips": [{"address": "10.1.2.3/24"}], "dns": {}}"#;

/// A directory of this test's own, gone with it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weir-cni-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// A call that is right in all its parts, to be spoilt in one.
pub struct Call {
    pub command: &'static str,
    pub namespace: &'static str,
    pub pod: &'static str,
    pub config: Value,
    previous: Option<String>,
}

impl Call {
    pub fn new(scratch: &Scratch, command: &'static str) -> Self {
        let config = json!({
            "cniVersion": "1.0.0",
            "name": "test",
            "type": "weir-cni",
            "socket": scratch.path("cni.sock"),
            "lastWord": scratch.path("last-word.json"),
            "timeoutSeconds": 1,
            "exempt": {"namespaces": ["kube-system"], "pods": ["istio-system/ztunnel-"]},
        });
        Self {
            command,
            namespace: "shop",
            pod: "web-0",
            config,
            previous: Some(PREVIOUS.to_owned()),
        }
    }

    pub fn of(mut self, namespace: &'static str, pod: &'static str) -> Self {
        (self.namespace, self.pod) = (namespace, pod);
        self
    }

    pub fn without_previous(mut self) -> Self {
        self.previous = None;
        self
    }

    pub fn with_previous(mut self, previous: String) -> Self {
        self.previous = Some(previous);
        self
    }

    pub fn input(&self) -> String {
        let config = self.config.to_string();
        match &self.previous {
            // Spliced in as text: a value would not keep its shape.
            Some(previous) => format!("{},\"prevResult\":{previous}}}", &config[..config.len() - 1]),
            None => config,
        }
    }

    pub fn run(&self) -> Output {
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_UID=u1",
            self.namespace, self.pod
        );
        let environment = [
            ("CNI_COMMAND", self.command),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_PATH", "/opt/cni/bin"),
            ("CNI_ARGS", &arguments),
        ];
        run(&environment, self.input().as_bytes())
    }
}

/// Runs the plugin with these variables and this input.
pub fn run(environment: &[(&str, &str)], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-cni"));
    command.env_clear().envs(environment.iter().copied());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A plugin that has read enough closes its end.
    child.stdin.take().unwrap().write_all(input).unwrap_or_default();
    child.wait_with_output().unwrap()
}

/// The error object of a call that failed.
pub fn error(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        object["msg"].as_str().is_some_and(|text| !text.is_empty()),
        "{object}"
    );
    assert!(object["code"].is_u64(), "{object}");
    assert!(
        weir_cni::version::is_supported(object["cniVersion"].as_str().unwrap()),
        "{object}"
    );
    object
}

/// An agent that gives one answer to everybody; questions are handed on.
pub fn agent(socket: &Path, outcome: Outcome) -> Receiver<Request> {
    let listener = UnixListener::bind(socket).unwrap();
    let (heard, questions) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let question = read(&stream);
            let answer = line(&Answer::new(outcome.clone())).unwrap();
            (&stream).write_all(&answer).unwrap();
            if heard.send(question).is_err() {
                return;
            }
        }
    });
    questions
}

/// An agent that answers with these bytes and nothing else.
pub fn stammering_agent(socket: &Path, bytes: &'static [u8]) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            read(&stream);
            (&stream).write_all(bytes).unwrap_or_default();
        }
    });
}

fn read(stream: &UnixStream) -> Request {
    let mut question = String::new();
    BufReader::new(stream).read_line(&mut question).unwrap();
    serde_json::from_str(&question).unwrap()
}
