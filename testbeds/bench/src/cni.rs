//! What the CNI plugin adds to the start of a pod, when many start at once.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::{Mesh, PodLine, program};
use weir_testbeds::netns::Netns;
use weir_testbeds::unique;

use crate::cli::Cli;
use crate::scale::bystander;
use crate::spread::percentile;
use crate::zds_peer;

/// Pods that start at the same time.
const PARALLEL: usize = 50;
const BATCHES: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);
/// An answer that is handed on.
const PREVIOUS: &str = r#"{"cniVersion":"1.0.0","interfaces":[],"ips":[],"dns":{}}"#;

/// How long ADD took.
#[derive(Clone, Debug, Serialize)]
pub struct Starts {
    pub parallel: usize,
    /// Pods of the mesh, captured by then.
    pub in_mesh: Times,
    /// Pods out of it, about which the agent was asked.
    pub outside: Times,
    /// Pods about which nobody is asked: what it costs to start a program.
    pub exempt: Times,
    /// Pods of the mesh that start one after the other.
    pub alone: Times,
}

/// In milliseconds, from the program's start to its end.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    pub p50: f64,
    pub p99: f64,
}

/// Measures with a ztunnel that serves nobody.
pub fn run(cli: &Cli) -> Result<Starts> {
    let batches = if cli.quick { 1 } else { BATCHES };
    eprintln!("bench: CNI ADD, {PARALLEL} at once");
    let directory = std::env::temp_dir().join(unique::name("bench-cni"));
    std::fs::create_dir(&directory)?;
    let starts = measure(&directory, batches);
    std::fs::remove_dir_all(&directory)?;
    starts
}

fn measure(directory: &Path, batches: usize) -> Result<Starts> {
    let socket = directory.join("cni.sock");
    let flag = socket.to_str().context("a path that is not UTF-8")?;
    let mut mesh = Mesh::builder("bench-cni")
        .flag("--cni-socket")
        .flag(flag)
        .start()?;
    eventually(PATIENCE, || socket.exists().then_some(())).context("the agent does not listen")?;
    let plugin = Plugin::new(&socket)?;
    let each = PARALLEL * batches;
    let pods: Vec<Netns> = (0..3 * each + PARALLEL).map(bystander).collect::<Result<_>>()?;
    zds_peer::connect(&mesh.agent.zds_socket(), pods.clone())?;
    let of = |part: usize| (part * each)..((part + 1) * each).min(pods.len());
    let lines = (0..pods.len()).map(|number| {
        let mut line = PodLine::awaited(&name(number), &format!("{}{number}", zds_peer::NAME));
        if of(0).contains(&number) || of(3).contains(&number) {
            line.enrol();
        }
        line
    });
    mesh.add(lines)?;
    let many = |part, namespace| -> Result<Times> {
        let numbers: Vec<usize> = of(part).collect();
        let mut times = Vec::new();
        for batch in numbers.chunks(PARALLEL) {
            times.extend(plugin.add_all(namespace, batch, &pods)?);
        }
        Ok(Times::of(&times))
    };
    // The first of all makes the agent warm, and finds out whether anything works.
    plugin.add("default", 3 * each, &pods[3 * each])?;
    let alone = of(3)
        .skip(1)
        .map(|number| plugin.add("default", number, &pods[number]));
    Ok(Starts {
        parallel: PARALLEL,
        alone: Times::of(&alone.collect::<Result<Vec<_>>>()?),
        in_mesh: many(0, "default")?,
        outside: many(1, "default")?,
        exempt: many(2, "kube-system")?,
    })
}

fn name(number: usize) -> String {
    format!("{}{number}", zds_peer::NAME)
}

impl Times {
    fn of(times: &[Duration]) -> Self {
        let mut micros: Vec<u64> = times
            .iter()
            .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
            .collect();
        micros.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "microseconds of seconds are exact")]
        let milliseconds = |share| percentile(&micros, share) as f64 / 1e3;
        Self {
            p50: milliseconds(0.5),
            p99: milliseconds(0.99),
        }
    }
}

/// The plugin, as a runtime calls it.
struct Plugin {
    program: std::path::PathBuf,
    config: String,
}

impl Plugin {
    fn new(socket: &Path) -> Result<Self> {
        let config = json!({
            "cniVersion": "1.0.0",
            "name": "bench",
            "type": "weir-cni",
            "socket": socket,
            "exempt": {"namespaces": ["kube-system"]},
        });
        let config = config.to_string();
        Ok(Self {
            program: program("weir-cni")?,
            // As text, because a value would not keep its shape.
            config: format!(
                "{},\"prevResult\":{PREVIOUS}}}",
                config.strip_suffix('}').unwrap_or_default()
            ),
        })
    }

    /// Starts pods at the same time.
    fn add_all(&self, namespace: &str, numbers: &[usize], pods: &[Netns]) -> Result<Vec<Duration>> {
        let ready = Barrier::new(numbers.len());
        thread::scope(|scope| {
            let start = |&number: &usize| {
                let ready = &ready;
                scope.spawn(move || {
                    ready.wait();
                    self.add(namespace, number, &pods[number])
                })
            };
            let started: Vec<_> = numbers.iter().map(start).collect();
            let times = started.into_iter().map(|thread| match thread.join() {
                Ok(time) => time,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            times.collect()
        })
    }

    fn add(&self, namespace: &str, number: usize, netns: &Netns) -> Result<Duration> {
        let name = name(number);
        let begun = Instant::now();
        let mut child = Command::new(&self.program)
            .env("CNI_COMMAND", "ADD")
            .env("CNI_CONTAINERID", &name)
            .env("CNI_NETNS", netns.path())
            .env("CNI_IFNAME", "eth0")
            .env(
                "CNI_ARGS",
                format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={name}"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child
            .stdin
            .take()
            .context("no stdin")?
            .write_all(self.config.as_bytes())?;
        let output = child.wait_with_output()?;
        let took = begun.elapsed();
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && said == PREVIOUS,
            "pod {name} does not start: {said}"
        );
        Ok(took)
    }
}
