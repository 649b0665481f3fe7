//! What the CNI plugin adds to the start of a pod, when many start at once.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::{Mesh, PodLine};
use weir_testbeds::netns::Netns;
use weir_testbeds::unique;

use crate::cli::Cli;
use crate::scale::bystander;
use crate::spread::percentile;
use crate::zds_peer;

mod cpu_time;
mod plugin;

use cpu_time::CpuTime;
use plugin::Plugin;

/// Pods that start at the same time.
const PARALLEL: usize = 50;
const BATCHES: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);
/// Nodes do not start fifty pods without end: the agent has this long to get ready for the next ones.
const BETWEEN: Duration = Duration::from_secs(3);

/// How long ADD took.
#[derive(Clone, Debug, Serialize)]
pub struct Starts {
    pub parallel: usize,
    /// An empty program instead of the plugin.
    pub empty: Times,
    /// Pods of the mesh, captured by then.
    pub in_mesh: Times,
    /// Pods out of it, about which the agent was asked.
    pub outside: Times,
    /// Pods about which nobody is asked.
    pub exempt: Times,
    /// Pods of the mesh that start one after the other.
    pub alone: Times,
}

impl Starts {
    /// All of them, with titles.
    pub fn rows(&self) -> [(String, &Times); 5] {
        let at_once = |title| format!("{} at once, {title}", self.parallel);
        [
            (at_once("an empty program"), &self.empty),
            (at_once("nobody is asked"), &self.exempt),
            (at_once("out of the mesh"), &self.outside),
            (at_once("in the mesh"), &self.in_mesh),
            ("one after the other, in the mesh".to_owned(), &self.alone),
        ]
    }
}

/// In milliseconds, from the program's start to its end.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    pub p50: f64,
    pub p99: f64,
    /// Of all CPUs, for one.
    pub cpu_program: f64,
    /// The agent's, for one.
    pub cpu_agent: f64,
    /// Of the time that one takes, how much it waits: for a CPU, and in the mesh for ztunnel.
    pub waiting: f64,
}

impl Times {
    /// What is added to the empty program.
    pub fn added(&self, empty: &Self) -> (f64, f64) {
        (self.p50 - empty.p50, self.p99 - empty.p99)
    }

    fn of(times: &[Duration], cpu: CpuTime) -> Self {
        let mut micros: Vec<u64> = times
            .iter()
            .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
            .collect();
        micros.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "microseconds of seconds are exact")]
        let milliseconds = |share| percentile(&micros, share) as f64 / 1e3;
        #[expect(clippy::cast_precision_loss, reason = "there are some hundreds")]
        let count = times.len().max(1) as f64;
        let each = |together: Duration| together.as_secs_f64() * 1e3 / count;
        let (cpu_program, cpu_agent) = (each(cpu.children), each(cpu.agent));
        let mean = each(times.iter().sum());
        Self {
            p50: milliseconds(0.5),
            p99: milliseconds(0.99),
            cpu_program,
            cpu_agent,
            waiting: (1.0 - (cpu_program + cpu_agent) / mean).max(0.0),
        }
    }
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

/// A kind of pod: its place among the namespaces, and the namespace that it is in for Kubernetes.
#[derive(Clone, Copy)]
enum Kind {
    InMesh = 0,
    Outside = 1,
    Exempt = 2,
    Alone = 3,
}

fn measure(directory: &Path, batches: usize) -> Result<Starts> {
    let socket = directory.join("cni.sock");
    let flag = socket.to_str().context("a path that is not UTF-8")?;
    let mut mesh = Mesh::builder("bench-cni")
        .flag("--cni-socket")
        .flag(flag)
        .start()?;
    eventually(PATIENCE, || socket.exists().then_some(())).context("the agent does not listen")?;
    let each = PARALLEL * batches;
    let pods: Vec<Netns> = (0..4 * each).map(bystander).collect::<Result<_>>()?;
    zds_peer::connect(&mesh.agent.zds_socket(), pods.clone())?;
    mesh.add((0..pods.len()).map(|number| {
        let mut line = PodLine::awaited(&name(number), &format!("{}{number}", zds_peer::NAME));
        if number / each == Kind::InMesh as usize || number / each == Kind::Alone as usize {
            line.enrol();
        }
        line
    }))?;
    let agent = mesh.agent.id().context("the agent has ended")?;
    let plugin = Plugin::new(&socket, agent)?;
    let batch = |kind: Kind, batch: usize| -> Vec<usize> {
        let first = kind as usize * each + batch * PARALLEL;
        (first..first + PARALLEL).collect()
    };
    // The first of all makes the agent warm, and finds out whether anything works.
    let mut alone = batch(Kind::Alone, 0);
    plugin.add("default", &alone[..1], &pods)?;
    sleep(BETWEEN);
    alone.remove(0);
    let mut alone_times = Series::default();
    for number in alone {
        alone_times.add(plugin.add("default", &[number], &pods)?);
    }
    let [mut empty, mut in_mesh, mut outside, mut exempt] = [(); 4].map(|()| Series::default());
    for number in 0..batches {
        sleep(BETWEEN);
        empty.add(plugin.empty(PARALLEL)?);
        exempt.add(plugin.add("kube-system", &batch(Kind::Exempt, number), &pods)?);
        outside.add(plugin.add("default", &batch(Kind::Outside, number), &pods)?);
        sleep(BETWEEN);
        in_mesh.add(plugin.add("default", &batch(Kind::InMesh, number), &pods)?);
    }
    Ok(Starts {
        parallel: PARALLEL,
        empty: empty.times(),
        alone: alone_times.times(),
        in_mesh: in_mesh.times(),
        outside: outside.times(),
        exempt: exempt.times(),
    })
}

/// Several batches of one kind.
#[derive(Default)]
struct Series {
    times: Vec<Duration>,
    cpu: CpuTime,
}

impl Series {
    fn add(&mut self, (times, cpu): (Vec<Duration>, CpuTime)) {
        self.times.extend(times);
        self.cpu += cpu;
    }

    fn times(&self) -> Times {
        Times::of(&self.times, self.cpu)
    }
}

fn name(number: usize) -> String {
    format!("{}{number}", zds_peer::NAME)
}
