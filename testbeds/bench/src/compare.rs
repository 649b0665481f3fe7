//! The variants by turns, so that whatever else happens on the machine happens to all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use weir_testbeds::proxy::ProxyKind;

use crate::awake::Awake;
use crate::cli::Cli;
use crate::column::{Column, Numbers};
use crate::load::client::Kind;
use crate::load::server::{CLOSE_PORT, KEEP_ALIVE_PORT, SINK_PORT};
use crate::load::{Load, Measured};
use crate::setting::Setting;
use crate::spread::{Spread, percentile};
use crate::variant::{Stage, Variant};

const CLIENTS: usize = 16;

/// All rounds behind one proxy.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    pub proxy: &'static str,
    pub setting: Setting,
    pub rounds: Vec<BTreeMap<Variant, Numbers>>,
    /// Operations that failed, in all rounds together.
    pub failures: BTreeMap<Variant, u64>,
}

impl Compared {
    /// A column of a variant, over all rounds.
    pub fn spread(&self, variant: Variant, column: Column) -> Option<Spread> {
        Spread::of(
            self.rounds
                .iter()
                .filter_map(|round| number(round, variant, column)),
        )
    }

    /// How many times the last variant is better than the one before, round by round.
    pub fn advantage(&self, column: Column) -> Option<Spread> {
        let [_, theirs, ours] = self.setting.variants();
        Spread::of(self.rounds.iter().filter_map(|round| {
            let ours = number(round, ours, column)?;
            column.advantage(ours, number(round, theirs, column)?)
        }))
    }
}

fn number(round: &BTreeMap<Variant, Numbers>, variant: Variant, column: Column) -> Option<f64> {
    round.get(&variant)?.get(&column).copied()
}

/// The word for a proxy in reports.
pub const fn proxy_name(proxy: &ProxyKind) -> &'static str {
    match proxy {
        ProxyKind::StandIn(_) => "the stand-in proxy",
        ProxyKind::Ztunnel(_) => "ztunnel",
    }
}

/// Measures all variants behind one proxy.
pub fn run(setting: Setting, proxy: &ProxyKind, cli: &Cli) -> Result<Compared> {
    let mut compared = Compared {
        proxy: proxy_name(proxy),
        setting,
        rounds: Vec::new(),
        failures: BTreeMap::new(),
    };
    for round in 0..cli.rounds() {
        let mut numbers = BTreeMap::new();
        for variant in order(setting, round) {
            eprintln!(
                "bench: {} with {}, round {} of {}",
                variant.name(),
                compared.proxy,
                round + 1,
                cli.rounds()
            );
            let stage = variant.start(setting, proxy)?;
            let (measured, failures) = measure(&stage, cli).with_context(|| variant.name())?;
            numbers.insert(variant, measured);
            *compared.failures.entry(variant).or_default() += failures;
        }
        compared.rounds.push(numbers);
    }
    Ok(compared)
}

/// Another variant goes first in every round.
fn order(setting: Setting, round: usize) -> [Variant; 3] {
    let mut order = setting.variants();
    let first = round % order.len();
    order.rotate_left(first);
    order
}

fn measure(stage: &Stage, cli: &Cli) -> Result<(Numbers, u64)> {
    let run = |kind, clients, port| {
        let load = Load {
            kind,
            clients,
            warm_up: cli.warm_up(),
            duration: cli.duration(),
        };
        load.run(stage.client(), &stage.server, stage.to(port), stage.proxy())
    };
    let connections = run(Kind::NewConnections, CLIENTS, CLOSE_PORT)?;
    let requests = run(Kind::Requests, CLIENTS, KEEP_ALIVE_PORT)?;
    let lone = {
        let _awake = Awake::begin()?;
        run(Kind::Requests, 1, KEEP_ALIVE_PORT)?
    };
    let one = run(Kind::Bulk, 1, SINK_PORT)?;
    let four = run(Kind::Bulk, 4, SINK_PORT)?;
    let mut numbers = Numbers::from([
        (Column::NewConnections, rate(&connections)),
        (Column::NewConnectionP50, latency(&connections, 0.5)),
        (Column::NewConnectionP99, latency(&connections, 0.99)),
        (
            Column::NewConnectionMachineCpu,
            each(&connections, connections.machine),
        ),
        (Column::Requests, rate(&requests)),
        (Column::RequestP50, latency(&requests, 0.5)),
        (Column::RequestP99, latency(&requests, 0.99)),
        (Column::RequestMachineCpu, each(&requests, requests.machine)),
        (Column::LoneRequestP50, latency(&lone, 0.5)),
        (Column::LoneRequestP99, latency(&lone, 0.99)),
        (Column::OneStream, gigabits(&one)),
        (Column::FourStreams, gigabits(&four)),
    ]);
    if stage.proxy().is_some() {
        numbers.insert(
            Column::NewConnectionProxyCpu,
            each(&connections, connections.proxy),
        );
        numbers.insert(Column::RequestProxyCpu, each(&requests, requests.proxy));
    }
    let failures = [&connections, &requests, &lone, &one, &four]
        .map(|load| load.failures)
        .iter()
        .sum();
    Ok((numbers, failures))
}

#[expect(clippy::cast_precision_loss, reason = "counts of seconds are exact")]
fn count(measured: &Measured) -> f64 {
    measured.latencies.len() as f64
}

/// Operations per second.
pub fn rate(measured: &Measured) -> f64 {
    count(measured) / measured.elapsed.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds are exact")]
fn latency(measured: &Measured, share: f64) -> f64 {
    percentile(&measured.latencies, share) as f64 / 1e3
}

fn each(measured: &Measured, cpu: Duration) -> f64 {
    cpu.as_secs_f64() * 1e6 / count(measured).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "bytes of seconds are exact")]
fn gigabits(measured: &Measured) -> f64 {
    measured.bytes as f64 * 8.0 / 1e9 / measured.elapsed.as_secs_f64()
}
