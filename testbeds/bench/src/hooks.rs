//! What Weir's programs cost: time per connection, and runs per packet.

use anyhow::{Context as _, Result};
use serde::Serialize;
use weir_agent::datapath::sys::ProgramRuns;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::proxy::ProxyKind;

use crate::bpf::{self, Counting, RunsByName};
use crate::cli::Cli;
use crate::compare::proxy_name;
use crate::load::client;
use crate::load::server::{CLOSE_PORT, SINK_PORT};
use crate::setting::Setting;
use crate::variant::{Stage, Variant};

mod empty;

use empty::Empty;

/// Transfers of different size: what runs per packet would run ten times as often in the second.
const TRANSFERS: [u64; 2] = [64 << 20, 640 << 20];

/// Of so many repetitions the cheapest counts: programs at the root of the cgroups see the whole machine's connections,
/// which can only add.
const REPETITIONS: usize = 5;

/// A connection of an application is redirected to ztunnel in its own pod, and by ztunnel to the application in the other.
const REDIRECTIONS: f64 = 2.0;

const GUARD: &str = "weir_guard";
const PODS: usize = 2;

/// The cost of the programs behind one proxy, without the guard.
#[derive(Clone, Debug, Serialize)]
pub struct Hooks {
    pub proxy: &'static str,
    pub connections: u32,
    pub programs: Vec<Program>,
    pub transfers: Vec<Transfer>,
    /// Nanoseconds of the guard for a packet that leaves the pod, without what the clock takes.
    pub guard: f64,
}

/// One program, per end-to-end connection of an application.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    pub name: String,
    pub runs: f64,
    /// As the kernel counts them, its looks at the clock included.
    pub nanoseconds: f64,
    /// Beyond those of an empty program at the same hook.
    pub net: f64,
}

/// One transfer over one connection.
#[derive(Clone, Debug, Serialize)]
pub struct Transfer {
    pub bytes: u64,
    pub packets: u64,
    /// Of all programs together.
    pub runs: u64,
}

impl Hooks {
    /// Time in all programs per connection, as the kernel counts it.
    pub fn nanoseconds(&self) -> f64 {
        total(&self.programs)
    }

    /// How often programs run per connection.
    pub fn runs(&self) -> f64 {
        self.programs.iter().map(|program| program.runs).sum()
    }

    /// Time in all programs per redirection, beyond that of as many runs of empty ones.
    pub fn redirection(&self) -> f64 {
        let net: f64 = self.programs.iter().map(|program| program.net).sum();
        net / REDIRECTIONS
    }
}

/// Time in all programs, as the kernel counts it.
pub fn total(programs: &[Program]) -> f64 {
    programs.iter().map(|program| program.nanoseconds).sum()
}

/// Measures behind one proxy.
pub fn run(proxy: &ProxyKind, cli: &Cli) -> Result<Hooks> {
    eprintln!("bench: programs of Weir with {}", proxy_name(proxy));
    let connections = if cli.quick { 200 } else { 2000 };
    #[expect(clippy::cast_precision_loss, reason = "tens of nanoseconds")]
    let clock = bpf::floor()?.as_nanos() as f64;
    let _counting = Counting::start()?;
    let guard = guard(proxy, connections, clock)?;
    let mut stage = Stage::unguarded(Setting::InPod, proxy)?;
    let programs = per_connection(&mut stage, connections)?;
    let mut transfers = Vec::new();
    for bytes in TRANSFERS {
        transfers.push(transfer(&mut stage, bytes)?);
    }
    Ok(Hooks {
        proxy: proxy_name(proxy),
        connections,
        programs,
        transfers,
        guard,
    })
}

/// What a packet costs where the guard looks at it, as it does by default.
fn guard(proxy: &ProxyKind, connections: u32, clock: f64) -> Result<f64> {
    let mut stage = Variant::Weir.start(Setting::InPod, proxy)?;
    // One that only counts is put there when nobody waits for anything else.
    eventually(PATIENCE, || (guards(&mut stage).ok()? == PODS).then_some(()))?;
    let programs = per_connection(&mut stage, connections)?;
    let guard = programs.iter().find(|program| program.name.starts_with(GUARD));
    let guard = guard.context("the guard did not run")?;
    Ok(guard.nanoseconds / guard.runs - clock)
}

fn guards(stage: &mut Stage) -> Result<usize> {
    let runs = runs(stage)?;
    Ok(runs.keys().filter(|(name, _)| name.starts_with(GUARD)).count())
}

/// The programs' runs while one client makes one connection after the other; counting must be on.
pub fn per_connection(stage: &mut Stage, connections: u32) -> Result<Vec<Program>> {
    let to = stage.to(CLOSE_PORT);
    // Pools of the proxy fill, listeners are found: that is not part of every connection.
    stage.client().run(|| client::sequence(to, connections / 10))?;
    let empty = Empty::before_ours(mesh(stage)?)?;
    let mut repetitions = Vec::new();
    for _ in 0..REPETITIONS {
        let before = (runs(stage)?, empty.runs()?);
        stage.client().run(|| client::sequence(to, connections))?;
        let ours = bpf::since(&before.0, &runs(stage)?);
        repetitions.push(per(connections, ours, &bpf::since(&before.1, &empty.runs()?)));
    }
    let cheapest = repetitions
        .into_iter()
        .min_by(|one, other| total(one).total_cmp(&total(other)));
    Ok(cheapest.unwrap_or_default())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of seconds are exact"
)]
fn per(connections: u32, added: RunsByName, empty: &RunsByName) -> Vec<Program> {
    let each = f64::from(connections);
    let program = |(name, runs): (String, ProgramRuns)| {
        let (count, nanoseconds) = (runs.count as f64, runs.time.as_nanos() as f64);
        let floor = empty.get(&name).map_or(0.0, |empty| {
            empty.time.as_nanos() as f64 / empty.count as f64 * count
        });
        Program {
            name,
            runs: count / each,
            nanoseconds: nanoseconds / each,
            net: (nanoseconds - floor) / each,
        }
    };
    added.into_iter().map(program).collect()
}

fn transfer(stage: &mut Stage, bytes: u64) -> Result<Transfer> {
    let mut repetitions = Vec::new();
    for _ in 0..REPETITIONS {
        repetitions.push(transfer_once(stage, bytes)?);
    }
    let cheapest = repetitions.into_iter().min_by_key(|transfer| transfer.runs);
    cheapest.context("nothing was repeated")
}

fn transfer_once(stage: &mut Stage, bytes: u64) -> Result<Transfer> {
    let to = stage.to(SINK_PORT);
    let (before, sent) = (runs(stage)?, bpf::packets(stage.client())?);
    stage.client().run(|| client::send(to, bytes))?;
    let added = bpf::since(&before, &runs(stage)?);
    Ok(Transfer {
        bytes,
        packets: bpf::packets(stage.client())? - sent,
        runs: added.values().map(|runs| runs.count).sum(),
    })
}

fn mesh(stage: &mut Stage) -> Result<&Mesh> {
    Ok(stage.mesh().context("Weir does not run here")?)
}

fn runs(stage: &mut Stage) -> Result<bpf::Runs> {
    bpf::runs(mesh(stage)?.agent.pin_root())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_agent::datapath::sys::ProgramRuns;

    use super::per;
    use crate::bpf::RunsByName;

    fn runs(count: u64, nanoseconds: u64) -> RunsByName {
        let time = Duration::from_nanos(nanoseconds);
        RunsByName::from([("weir_track".to_owned(), ProgramRuns { count, time })])
    }

    #[test]
    fn what_an_empty_program_takes_in_as_many_runs_is_taken_off() {
        // Ten connections of four runs; the empty program has seen another one in between.
        let [program] = &per(10, runs(40, 4000), &runs(42, 42 * 60))[..] else {
            panic!("one program");
        };
        assert_eq!(
            (program.runs, program.nanoseconds, program.net),
            (4.0, 400.0, 160.0)
        );
        assert_eq!(per(10, runs(40, 4000), &RunsByName::new())[0].net, 400.0);
    }
}
