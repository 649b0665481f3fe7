//! What Weir's programs cost: time per connection, and runs per packet.

use anyhow::{Context as _, Result};
use serde::Serialize;
use weir_agent::datapath::sys::ProgramRuns;
use weir_testbeds::proxy::ProxyKind;

use crate::bpf::{self, Counting, Runs, RunsByName};
use crate::cli::Cli;
use crate::compare::proxy_name;
use crate::load::client;
use crate::load::server::{CLOSE_PORT, SINK_PORT};
use crate::setting::Setting;
use crate::variant::{Stage, Variant};

/// Transfers of different size: what runs per packet would run ten times as often in the second.
const TRANSFERS: [u64; 2] = [64 << 20, 640 << 20];

/// Of so many repetitions the cheapest counts: programs at the root of the cgroups see the whole machine's connections,
/// which can only add.
const REPETITIONS: usize = 5;

/// A connection of an application is redirected to ztunnel in its own pod, and by ztunnel to the application in the other.
const REDIRECTIONS: f64 = 2.0;

const GUARD: &str = "weir_guard";

/// The cost of the programs behind one proxy, without the guard.
#[derive(Clone, Debug, Serialize)]
pub struct Hooks {
    pub proxy: &'static str,
    pub connections: u32,
    /// Nanoseconds that the kernel's counting adds to each run.
    pub counting: f64,
    pub programs: Vec<Program>,
    pub transfers: Vec<Transfer>,
    /// Nanoseconds of the guard for a packet that leaves the pod, without the counting.
    pub guard: f64,
}

/// One program, per end-to-end connection of an application.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    pub name: String,
    pub runs: f64,
    pub nanoseconds: f64,
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
    /// Time in all programs per connection, the kernel's counting of it included.
    pub fn nanoseconds(&self) -> f64 {
        total(&self.programs)
    }

    /// Time in all programs per redirection, without the counting.
    pub fn redirection(&self) -> f64 {
        let net: f64 = self
            .programs
            .iter()
            .map(|program| program.net(self.counting))
            .sum();
        net / REDIRECTIONS
    }
}

impl Program {
    fn net(&self, counting: f64) -> f64 {
        (self.nanoseconds - self.runs * counting).max(0.0)
    }
}

/// Time in all programs.
pub fn total(programs: &[Program]) -> f64 {
    programs.iter().map(|program| program.nanoseconds).sum()
}

/// Measures behind one proxy.
pub fn run(proxy: &ProxyKind, cli: &Cli) -> Result<Hooks> {
    eprintln!("bench: programs of Weir with {}", proxy_name(proxy));
    let connections = if cli.quick { 200 } else { 2000 };
    #[expect(clippy::cast_precision_loss, reason = "tens of nanoseconds")]
    let counting = bpf::floor()?.as_nanos() as f64;
    let _counting = Counting::start()?;
    let guard = guard(proxy, connections, counting)?;
    let mut stage = Stage::unguarded(Setting::InPod, proxy)?;
    let programs = per_connection(&mut stage, connections)?;
    let mut transfers = Vec::new();
    for bytes in TRANSFERS {
        transfers.push(transfer(&mut stage, bytes)?);
    }
    Ok(Hooks {
        proxy: proxy_name(proxy),
        connections,
        counting,
        programs,
        transfers,
        guard,
    })
}

/// What a packet costs where the guard looks at it, as it does by default.
fn guard(proxy: &ProxyKind, connections: u32, counting: f64) -> Result<f64> {
    let programs = per_connection(&mut Variant::Weir.start(Setting::InPod, proxy)?, connections)?;
    let guard = programs.iter().find(|program| program.name.starts_with(GUARD));
    let guard = guard.context("the guard did not run")?;
    Ok(guard.net(counting) / guard.runs)
}

/// The programs' runs while one client makes one connection after the other; counting must be on.
pub fn per_connection(stage: &mut Stage, connections: u32) -> Result<Vec<Program>> {
    let to = stage.to(CLOSE_PORT);
    // Pools of the proxy fill, listeners are found: that is not part of every connection.
    stage.client().run(|| client::sequence(to, connections / 10))?;
    let mut repetitions = Vec::new();
    for _ in 0..REPETITIONS {
        let before = runs(stage)?;
        stage.client().run(|| client::sequence(to, connections))?;
        repetitions.push(per(connections, bpf::since(&before, &runs(stage)?)));
    }
    let cheapest = repetitions
        .into_iter()
        .min_by(|one, other| total(one).total_cmp(&total(other)));
    Ok(cheapest.unwrap_or_default())
}

fn per(connections: u32, added: RunsByName) -> Vec<Program> {
    let each = f64::from(connections);
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds are exact")]
    let program = |(name, runs): (String, ProgramRuns)| Program {
        name,
        runs: runs.count as f64 / each,
        nanoseconds: runs.time.as_nanos() as f64 / each,
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

fn runs(stage: &mut Stage) -> Result<Runs> {
    let mesh = stage.mesh().context("Weir does not run here")?;
    bpf::runs(mesh.agent.pin_root())
}
