//! What the programs at interfaces cost: time per packet (node contract).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use weir_agent::datapath::sys::ProgramRuns;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::proxy::ProxyKind;

use crate::bpf::{self, Counting, Runs};
use crate::cli::Cli;
use crate::compare::proxy_name;
use crate::load::Load;
use crate::load::client::Kind;
use crate::load::server::{CLOSE_PORT, KEEP_ALIVE_PORT, SINK_PORT, Server};
use crate::setting::{CLIENT, SERVER, Setting};
use crate::spread::Spread;
use crate::variant::Variant;

mod empty;
mod known;
mod spot;

use empty::Empty;

/// What no program may take for a packet, in nanoseconds.
pub const GOAL: f64 = 120.0;

/// Packets that begin connections, small ones of open connections, and large ones.
pub const LOADS: [(Kind, usize, u16); 3] = [
    (Kind::NewConnections, 16, CLOSE_PORT),
    (Kind::Requests, 16, KEEP_ALIVE_PORT),
    (Kind::Bulk, 1, SINK_PORT),
];

/// What they are called in reports.
pub const LOAD_TITLES: [&str; LOADS.len()] = ["new connections", "requests", "one stream"];

/// Fewer packets than this tell nothing: strays, such as those of a connection that ends.
const ENOUGH: u64 = 100;

/// The cost of the programs behind one proxy.
#[derive(Clone, Debug, Serialize)]
pub struct PerPacket {
    pub proxy: &'static str,
    pub setting: Setting,
    pub programs: Vec<Program>,
}

impl PerPacket {
    /// Programs that take more than they may.
    pub fn over_goal(&self) -> impl Iterator<Item = &str> {
        let over = |program: &&Program| program.worst().is_some_and(|worst| worst.median >= GOAL);
        self.programs
            .iter()
            .filter(over)
            .map(|program| program.name.as_str())
    }
}

/// Nanoseconds per packet of one program.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    pub name: String,
    /// By load, as [`LOADS`] lists them; nothing where a load does not get there.
    pub loads: [Option<Cost>; LOADS.len()],
    /// For a packet of a connection that it knows, by test runs; nothing where those tell nothing.
    pub known: Option<f64>,
}

/// Nanoseconds per packet under a load.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Beyond what an empty program takes there.
    pub net: Spread,
    /// Of an empty program at the same hooks.
    pub empty: Spread,
}

impl Program {
    /// Under the load that costs it most.
    pub fn worst(&self) -> Option<Spread> {
        let loads = self.loads.iter().flatten().map(|cost| cost.net);
        loads.max_by(|one, other| one.median.total_cmp(&other.median))
    }
}

/// Measures behind one proxy.
pub fn run(setting: Setting, variant: Variant, proxy: &ProxyKind, cli: &Cli) -> Result<PerPacket> {
    eprintln!("bench: packets of {} with {}", variant.name(), proxy_name(proxy));
    let stage = Stage::start(variant.mesh(setting, proxy).start()?)?;
    let spots = spot::all(&stage.mesh)?;
    let known = known::costs(&stage, &spots)?;
    let _counting = Counting::start()?;
    let meter = Meter {
        mesh: &stage.mesh,
        empty: Empty::before(&spots)?,
    };
    let mut rounds: [Vec<Costs>; LOADS.len()] = Default::default();
    for _ in 0..cli.rounds() {
        for ((kind, clients, port), costs) in LOADS.into_iter().zip(&mut rounds) {
            let load = Load {
                kind,
                clients,
                warm_up: cli.warm_up(),
                duration: cli.duration() / 3,
            };
            costs.push(stage.costs(&meter, load, port)?);
        }
    }
    let programs = programs(&rounds, &known);
    ensure!(!programs.is_empty(), "no program has seen packets");
    Ok(PerPacket {
        proxy: proxy_name(proxy),
        setting,
        programs,
    })
}

/// Nanoseconds per packet in one round, by program: with everything, and of an empty program at the same hooks.
type Costs = BTreeMap<String, (f64, f64)>;

/// A mesh with a server in a pod and one in the world.
struct Stage {
    // Stop before their world goes.
    servers: [(Server, IpAddr); 2],
    mesh: Mesh,
}

impl Stage {
    fn start(mesh: Mesh) -> Result<Self> {
        let (pod, remote) = (mesh.pod(SERVER), &mesh.world.remote);
        let inside = pod.address();
        let outside = remote.address_like(inside).context("no address of the family")?;
        let servers = [
            (Server::start(&pod.netns, inside)?, inside),
            (Server::start(&remote.netns, outside)?, outside),
        ];
        Ok(Self { servers, mesh })
    }

    /// From pod to pod, from the world to a pod, and from a pod to the world: together every program's work.
    fn costs(&self, meter: &Meter<'_>, load: Load, port: u16) -> Result<Costs> {
        let [inside, outside] = &self.servers;
        let client = &self.mesh.pod(CLIENT).netns;
        let remote = &self.mesh.world.remote.netns;
        let before = meter.runs()?;
        for (from, (server, address)) in [(client, inside), (remote, inside), (client, outside)] {
            load.run(from, server, SocketAddr::new(*address, port), None)?;
        }
        Ok(costs(&before, &meter.runs()?))
    }
}

/// Looks how often programs have run, and how long.
struct Meter<'a> {
    mesh: &'a Mesh,
    empty: Empty,
}

/// Of Weir's programs, and of the empty ones before them.
struct Seen {
    ours: Runs,
    empty: Runs,
}

impl Meter<'_> {
    fn runs(&self) -> Result<Seen> {
        let mut ours = Runs::new();
        // Looked for each time: an agent that verifies a pod may give it a new instance of a program.
        for spot in spot::all(self.mesh)? {
            // A program that runs at several interfaces is one.
            let runs = bpf::runs_of(spot.id)?;
            ours.extend(runs.map(|runs| ((spot.program, spot.id), runs)));
        }
        Ok(Seen {
            ours,
            empty: self.empty.runs()?,
        })
    }
}

fn costs(before: &Seen, after: &Seen) -> Costs {
    let ours = bpf::since(&before.ours, &after.ours);
    let empty = bpf::since(&before.empty, &after.empty);
    let cost = |(program, runs): (String, ProgramRuns)| {
        let empty = empty.get(&program)?;
        Some((program, (nanoseconds_each(runs), nanoseconds_each(*empty))))
    };
    let enough = ours.into_iter().filter(|(_, runs)| runs.count >= ENOUGH);
    enough.filter_map(cost).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of seconds are exact"
)]
fn nanoseconds_each(runs: ProgramRuns) -> f64 {
    runs.time.as_nanos() as f64 / runs.count as f64
}

fn cost(rounds: &[Costs], program: &str) -> Option<Cost> {
    let rounds = || rounds.iter().filter_map(|costs| costs.get(program).copied());
    Some(Cost {
        net: Spread::of(rounds().map(|(all, empty)| all - empty))?,
        empty: Spread::of(rounds().map(|(_, empty)| empty))?,
    })
}

/// All rounds of all loads, by program.
fn programs(rounds: &[Vec<Costs>; LOADS.len()], known: &BTreeMap<String, f64>) -> Vec<Program> {
    let names: BTreeSet<&String> = rounds.iter().flatten().flat_map(Costs::keys).collect();
    let program = |name: &String| Program {
        name: name.clone(),
        loads: rounds.each_ref().map(|costs| cost(costs, name)),
        known: known.get(name).copied(),
    };
    names.into_iter().map(program).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Costs, programs};

    #[test]
    fn the_load_that_costs_most_beyond_an_empty_program_counts() {
        let costs = |all, empty| Costs::from([("pod_in".to_owned(), (all, empty))]);
        let rounds = [
            vec![costs(90.0, 40.0), costs(120.0, 50.0)],
            vec![costs(130.0, 90.0)],
            vec![],
        ];
        let known = BTreeMap::from([("pod_in".to_owned(), 30.0)]);
        let [program] = &programs(&rounds, &known)[..] else {
            panic!("one program");
        };
        assert_eq!(
            program.loads.map(|load| load.map(|load| load.net.median)),
            [Some(60.0), Some(40.0), None]
        );
        assert_eq!(program.worst().unwrap().median, 60.0);
        assert_eq!(program.known, Some(30.0));
    }
}
