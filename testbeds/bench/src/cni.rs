//! What the CNI plugin adds to the start of a pod, when many start at once.

use std::ops::Range;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::{Mesh, PodLine};
use weir_testbeds::netns::Netns;
use weir_testbeds::publish::Published;
use weir_testbeds::unique;

use crate::cli::Cli;
use crate::spread::{Spread, percentile};
use crate::{crowd, zds_peer};

mod cpu_time;
mod plugin;

use cpu_time::CpuTime;
use plugin::Plugin;

/// Pods that start at the same time, and how often on one node, which has no more than kubelet's 110 pods at the end.
const AT_ONCE: [(usize, usize); 3] = [(10, 2), (20, 2), (50, 2)];
/// As many as there ever are.
const MOST: usize = 50;
/// One after the other.
const ALONE: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// Nodes do not start fifty pods without end: the agent has this long to get ready for the next ones.
const BETWEEN: Duration = Duration::from_secs(4);

/// How long ADD took.
#[derive(Clone, Debug, Serialize)]
pub struct Starts(Vec<Row>);

/// Pods of one kind, so many of them at once.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub at_once: usize,
    pub kind: &'static str,
    pub times: Times,
    /// As many empty programs at once.
    pub empty: Times,
    /// What is added to them at the 99th percentile, on each node.
    pub added_by_node: Spread,
}

impl Starts {
    /// All of them.
    pub fn rows(&self) -> &[Row] {
        &self.0
    }
}

impl Row {
    /// What it is.
    pub fn title(&self) -> String {
        format!("{} at once, {}", self.at_once, self.kind)
    }

    /// What is added to the empty program, at the median and at the 99th percentile.
    pub fn added(&self) -> (f64, f64) {
        (self.times.p50 - self.empty.p50, self.times.p99 - self.empty.p99)
    }
}

/// In milliseconds, from when all were asked to start until this one has ended.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Times {
    pub p50: f64,
    pub p99: f64,
    /// Of all CPUs, for one.
    pub cpu_program: f64,
    /// The agent's, for one.
    pub cpu_agent: f64,
}

impl Times {
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
        Self {
            p50: milliseconds(0.5),
            p99: milliseconds(0.99),
            cpu_program,
            cpu_agent,
        }
    }
}

/// Measures with a ztunnel that serves nobody.
pub fn run(cli: &Cli) -> Result<Starts> {
    if let Some(at_once) = cli.at_once() {
        return Ok(Starts(vec![started(cli, at_once, 2)?]));
    }
    let nodes = cli.rounds();
    let alone = measure((1, IN_MESH), nodes, ALONE, |node| {
        let fresh = node.fresh(1)?;
        node.plugin.add("default", fresh, &node.pods)
    });
    let mut rows = vec![alone?];
    for (at_once, batches) in AT_ONCE {
        rows.push(started(cli, at_once, batches)?);
    }
    for (kind, namespace) in [("out of the mesh", "default"), ("nobody is asked", "kube-system")] {
        rows.push(measure((MOST, kind), nodes, 2, |node| {
            let outside = node.outside();
            node.plugin.add(namespace, outside, &node.pods)
        })?);
    }
    Ok(Starts(rows))
}

const IN_MESH: &str = "in the mesh";

fn started(cli: &Cli, at_once: usize, batches: usize) -> Result<Row> {
    let batches = if cli.quick { 1 } else { batches };
    measure((at_once, IN_MESH), cli.rounds(), batches, |node| {
        let fresh = node.fresh(at_once)?;
        node.plugin.add("default", fresh, &node.pods)
    })
}

/// Batches on several nodes, by turns with as many empty programs. Those come first, on a node that is at rest: what an
/// agent goes on doing after a batch would slow them down, and less would seem to be added.
fn measure(
    (at_once, kind): (usize, &'static str),
    nodes: usize,
    batches: usize,
    mut batch: impl FnMut(&mut Node) -> Result<(Vec<Duration>, CpuTime)>,
) -> Result<Row> {
    eprintln!("bench: CNI ADD, {at_once} at once, {kind}");
    let (mut empty, mut times, mut added) = (Series::default(), Series::default(), Vec::new());
    for _ in 0..nodes {
        let mut node = match kind {
            IN_MESH => Node::new(at_once * batches, 0)?,
            _ => Node::new(0, at_once)?,
        };
        let (mut empty_here, mut times_here) = (Series::default(), Series::default());
        for _ in 0..batches {
            if at_once > 1 {
                sleep(BETWEEN);
            }
            // Those that come first find cold caches, and would make the others seem cheap.
            node.plugin.empty(at_once)?;
            empty_here.add(node.plugin.empty(at_once)?);
            times_here.add(batch(&mut node)?);
        }
        added.push(times_here.times().p99 - empty_here.times().p99);
        empty.append(empty_here);
        times.append(times_here);
    }
    Ok(Row {
        at_once,
        kind,
        times: times.times(),
        empty: empty.times(),
        added_by_node: Spread::of(added).context("no round")?,
    })
}

/// A node with pods that are to start.
struct Node {
    plugin: Plugin,
    /// Where runtimes have them: to follow a path in /proc takes as long as most else that the plugin does.
    pods: Vec<Published>,
    in_mesh: usize,
    started: usize,
    directory: PathBuf,
    _mesh: Mesh,
}

impl Node {
    /// With so many pods that are meant to be in the mesh, and so many others.
    fn new(in_mesh: usize, outside: usize) -> Result<Self> {
        let directory = std::env::temp_dir().join(unique::name("bench-cni"));
        std::fs::create_dir(&directory)?;
        let socket = directory.join("cni.sock");
        let flag = socket.to_str().context("a path that is not UTF-8")?;
        let mut mesh = Mesh::builder("bench-cni")
            .flag("--cni-socket")
            .flag(flag)
            .start()?;
        eventually(PATIENCE, || socket.exists().then_some(())).context("the agent does not listen")?;
        // The first of all makes the agent warm, and finds out whether anything works.
        let in_mesh = in_mesh + 1;
        let pods: Vec<Netns> = (0..in_mesh + outside)
            .map(|number| crowd::pod(&mesh, number))
            .collect::<Result<_>>()?;
        let named = pods.iter().map(|pod| pod.publish(&unique::name("bench-cni")));
        let named = named.collect::<Result<_, _>>().context("naming pods")?;
        // It may connect after the peer, and would then be the one that new pods are told to.
        mesh.proxy.kill();
        zds_peer::connect(&mesh.agent.zds_socket(), pods.clone())?;
        mesh.add((0..pods.len()).map(|number| line(number, number < in_mesh)))?;
        let agent = mesh.agent.id().context("the agent has ended")?;
        let node = Self {
            plugin: Plugin::new(&socket, agent)?,
            pods: named,
            in_mesh,
            started: 1,
            directory,
            _mesh: mesh,
        };
        node.plugin.add("default", 0..1, &node.pods)?;
        sleep(BETWEEN);
        Ok(node)
    }

    /// So many pods that have not started yet.
    fn fresh(&mut self, count: usize) -> Result<Range<usize>> {
        let fresh = self.started..self.started + count;
        ensure!(fresh.end <= self.in_mesh, "too few pods");
        self.started = fresh.end;
        Ok(fresh)
    }

    fn outside(&self) -> Range<usize> {
        self.in_mesh..self.pods.len()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

fn line(number: usize, in_mesh: bool) -> PodLine {
    let mut line = PodLine::awaited(&name(number), &name(number));
    if in_mesh {
        line.enrol();
    }
    line
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

    fn append(&mut self, other: Self) {
        self.add((other.times, other.cpu));
    }

    fn times(&self) -> Times {
        Times::of(&self.times, self.cpu)
    }
}

fn name(number: usize) -> String {
    format!("{}{number}", zds_peer::NAME)
}
