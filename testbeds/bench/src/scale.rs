//! Enrolment of pods that run, and a node that is full of them.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::{Mesh, PodLine};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::ProxyKind;
use weir_testbeds::unique;

use crate::bpf::Counting;
use crate::cli::Cli;
use crate::compare::rate;
use crate::cpu::CpuTime;
use crate::hooks::{per_connection, total};
use crate::load::Load;
use crate::load::client::Kind;
use crate::load::server::CLOSE_PORT;
use crate::setting::Setting;
use crate::spread::percentile;
use crate::variant::{Stage, Variant};
use crate::{crowd, zds_peer};

const PODS: usize = 1000;
/// Enrolled one after the other, as labels change on a live node.
const ONE_BY_ONE: usize = 200;
const PATIENCE: Duration = Duration::from_secs(120);

/// What many pods cost.
#[derive(Clone, Debug, Serialize)]
pub struct Scale {
    pub one_by_one: usize,
    /// From the agent's seeing the pod to its being captured, in milliseconds.
    pub enrolment_p50: f64,
    pub enrolment_p99: f64,
    /// The pods that came all at once.
    pub at_once: usize,
    /// The slowest of them, in seconds.
    pub at_once_slowest: f64,
    /// Enrolled in the end, without the two that talk.
    pub pods: usize,
    /// Resident memory of the agent, before and after, in MiB.
    pub memory: [f64; 2],
    /// New connections per second, before and after.
    pub connections: [f64; 2],
    /// Nanoseconds in programs per connection, before and after.
    pub nanoseconds: [f64; 2],
}

/// Measures with the stand-in.
pub fn run(cli: &Cli) -> Result<Scale> {
    let (pods, one_by_one) = if cli.quick { (40, 20) } else { (PODS, ONE_BY_ONE) };
    eprintln!("bench: {pods} pods");
    let mut stage = Variant::Weir.start(Setting::InPod, &ProxyKind::stand_in()?)?;
    let before = Cost::of(&mut stage, cli)?;
    let mesh = stage.mesh().context("Weir does not run here")?;
    let crowd = (0..pods).map(|number| crowd::pod(&*mesh, number));
    let crowd: Vec<Netns> = crowd.collect::<Result<_>>()?;
    zds_peer::connect(&mesh.agent.zds_socket(), crowd.clone())?;
    let mut names = Vec::new();
    for (number, netns) in crowd.iter().take(one_by_one).enumerate() {
        names.push(add(mesh, &[(number, netns)])?);
    }
    let times = names
        .iter()
        .map(|name| enrolment(&mesh.agent.output(), &name[0]))
        .collect::<Option<Vec<_>>>()
        .context("the agent's log does not tell how long enrolment took")?;
    let rest: Vec<_> = crowd.iter().enumerate().skip(one_by_one).collect();
    let late = add(mesh, &rest)?;
    let output = mesh.agent.output();
    let slowest = late.iter().filter_map(|name| enrolment(&output, name)).max();
    rest_of(mesh.agent.id().context("the agent has ended")?)?;
    let after = Cost::of(&mut stage, cli)?;
    Ok(scale(
        &times,
        slowest.unwrap_or_default(),
        rest.len(),
        [&before, &after],
    ))
}

fn scale(times: &[Duration], slowest: Duration, at_once: usize, costs: [&Cost; 2]) -> Scale {
    let mut sorted: Vec<u64> = times
        .iter()
        .map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        .collect();
    sorted.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "microseconds of seconds are exact")]
    let milliseconds = |share| percentile(&sorted, share) as f64 / 1e3;
    Scale {
        one_by_one: times.len(),
        enrolment_p50: milliseconds(0.5),
        enrolment_p99: milliseconds(0.99),
        at_once,
        at_once_slowest: slowest.as_secs_f64(),
        pods: times.len() + at_once,
        memory: costs.map(|cost| cost.memory),
        connections: costs.map(|cost| cost.connections),
        nanoseconds: costs.map(|cost| cost.nanoseconds),
    }
}

/// Waits until the agent has done what nobody waited for: a second in which it takes next to no CPU.
fn rest_of(agent: u32) -> Result<()> {
    const SECOND: Duration = Duration::from_secs(1);
    loop {
        let before = CpuTime::now(Some(agent))?;
        sleep(SECOND);
        if CpuTime::now(Some(agent))?.process_since(&before)? * 50 < SECOND {
            return Ok(());
        }
    }
}

/// What a connection costs at one moment, and the agent's memory.
struct Cost {
    memory: f64,
    connections: f64,
    nanoseconds: f64,
}

impl Cost {
    fn of(stage: &mut Stage, cli: &Cli) -> Result<Self> {
        let load = Load {
            kind: Kind::NewConnections,
            clients: 16,
            warm_up: cli.warm_up(),
            duration: cli.duration(),
        };
        let measured = load.run(stage.client(), &stage.server, stage.to(CLOSE_PORT), None)?;
        let _counting = Counting::start()?;
        let programs = per_connection(stage, if cli.quick { 200 } else { 2000 })?;
        let mesh = stage.mesh().context("Weir does not run here")?;
        Ok(Self {
            memory: memory(mesh.agent.id().context("the agent has ended")?)?,
            connections: rate(&measured),
            nanoseconds: total(&programs),
        })
    }
}

/// Puts pods into the mesh and waits until the agent says that they are.
fn add(mesh: &mut Mesh, pods: &[(usize, &Netns)]) -> Result<Vec<String>> {
    let prefix = unique::name("many");
    let named = pods
        .iter()
        .map(|(number, netns)| (format!("{}{number}", zds_peer::NAME), netns));
    let named: Vec<_> = named.collect();
    mesh.add(named.iter().map(|(name, netns)| {
        let mut line = PodLine::in_netns(name, &format!("{prefix}-{name}"), netns);
        line.enrol();
        line
    }))?;
    let enrolled = || {
        let output = mesh.agent.output();
        let seen = |(name, _): &(String, &&Netns)| enrolment(&output, name).is_some();
        named.iter().rev().all(seen).then_some(())
    };
    if let Err(expired) = eventually(PATIENCE, enrolled) {
        bail!(
            "pods are not enrolled: {expired}; the agent says:\n{}",
            mesh.agent.output()
        );
    }
    Ok(named.into_iter().map(|(name, _)| name).collect())
}

/// How long the enrolment of a pod took, from the agent's log.
fn enrolment(log: &str, pod: &str) -> Option<Duration> {
    let begin = format!("enrolled pod=default/{pod} ");
    let (_, rest) = log.rsplit_once(&begin)?;
    let line = rest.lines().next()?;
    let (_, took) = line.split_once("took=")?;
    duration(took.split_whitespace().next()?)
}

/// A duration as `Debug` writes it.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|character: char| character != '.' && !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
}

/// Resident memory in MiB.
fn memory(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).context(path)?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .context("no VmRSS")?;
    Ok(kib.trim().parse::<f64>()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::enrolment;

    #[test]
    fn the_log_tells_how_long_enrolment_took() {
        let log = "INFO enrolled pod=default/a-1 uid=7 took=1.5ms\nINFO enrolled pod=default/a-10 uid=8 took=250µs\n";
        assert_eq!(enrolment(log, "a-1"), Some(Duration::from_micros(1500)));
        assert_eq!(enrolment(log, "a-10"), Some(Duration::from_micros(250)));
        assert_eq!(enrolment(log, "a"), None);
    }
}
