//! What the programs at interfaces cost: time per packet (node contract).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use weir_agent::datapath::sys::ProgramRuns;
use weir_common::names::{LAYOUT_VERSION, OWNER_PREFIX};
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

/// What no program may take for a packet, in nanoseconds.
pub const GOAL: f64 = 120.0;

/// Packets that begin connections, small ones of open connections, and large ones.
pub const LOADS: [(Kind, usize, u16); 3] = [
    (Kind::NewConnections, 16, CLOSE_PORT),
    (Kind::Requests, 16, KEEP_ALIVE_PORT),
    (Kind::Bulk, 1, SINK_PORT),
];

/// Directories of links of programs that packets run: at pods' interfaces, and at the proxy's.
const AT_INTERFACES: [&str; 2] = ["pods", "places"];

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
    pub loads: [Option<Spread>; LOADS.len()],
}

impl Program {
    /// Under the load that costs it most.
    pub fn worst(&self) -> Option<Spread> {
        let loads = self.loads.iter().flatten().copied();
        loads.max_by(|one, other| one.median.total_cmp(&other.median))
    }
}

/// Measures behind one proxy.
pub fn run(setting: Setting, variant: Variant, proxy: &ProxyKind, cli: &Cli) -> Result<PerPacket> {
    eprintln!("bench: packets of {} with {}", variant.name(), proxy_name(proxy));
    let stage = Stage::start(variant.mesh(setting, proxy).start()?)?;
    let _counting = Counting::start()?;
    let mut rounds: [Vec<Costs>; LOADS.len()] = Default::default();
    for _ in 0..cli.rounds() {
        for ((kind, clients, port), costs) in LOADS.into_iter().zip(&mut rounds) {
            let load = Load {
                kind,
                clients,
                warm_up: cli.warm_up(),
                duration: cli.duration() / 3,
            };
            costs.push(stage.costs(load, port)?);
        }
    }
    let programs = programs(&rounds);
    ensure!(!programs.is_empty(), "no program has seen packets");
    Ok(PerPacket {
        proxy: proxy_name(proxy),
        setting,
        programs,
    })
}

/// Nanoseconds per packet, by program.
type Costs = BTreeMap<String, f64>;

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
    fn costs(&self, load: Load, port: u16) -> Result<Costs> {
        let [inside, outside] = &self.servers;
        let client = &self.mesh.pod(CLIENT).netns;
        let remote = &self.mesh.world.remote.netns;
        let mut sums: BTreeMap<String, ProgramRuns> = BTreeMap::new();
        for (from, (server, address)) in [(client, inside), (remote, inside), (client, outside)] {
            let before = self.runs()?;
            load.run(from, server, SocketAddr::new(*address, port), None)?;
            for (program, runs) in bpf::since(&before, &self.runs()?) {
                let sum = sums.entry(program).or_default();
                sum.count += runs.count;
                sum.time += runs.time;
            }
        }
        sums.retain(|_, runs| runs.count >= ENOUGH);
        let cost = |(program, runs): (String, ProgramRuns)| (program, nanoseconds_each(runs));
        Ok(sums.into_iter().map(cost).collect())
    }

    fn runs(&self) -> Result<Runs> {
        let pins = self.mesh.agent.pin_root().join(format!("v{LAYOUT_VERSION}"));
        let mut runs = Runs::new();
        for directory in AT_INTERFACES {
            // A program that runs at several interfaces is one.
            let pinned = bpf::runs(&pins.join(directory))?.into_iter();
            runs.extend(pinned.map(|((pin, id), runs)| ((program_of(&pin).to_owned(), id), runs)));
        }
        Ok(runs)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds of seconds are exact"
)]
fn nanoseconds_each(runs: ProgramRuns) -> f64 {
    runs.time.as_nanos() as f64 / runs.count as f64
}

/// A pin is called after its program and the interface's index.
fn program_of(pin: &str) -> &str {
    let name = pin.strip_prefix(OWNER_PREFIX).unwrap_or(pin);
    name.trim_end_matches(|digit: char| digit.is_ascii_digit())
        .trim_end_matches('_')
}

fn spread(rounds: &[Costs], program: &str) -> Option<Spread> {
    Spread::of(rounds.iter().filter_map(|costs| costs.get(program).copied()))
}

/// All rounds of all loads, by program.
fn programs(rounds: &[Vec<Costs>; LOADS.len()]) -> Vec<Program> {
    let names: BTreeSet<&String> = rounds.iter().flatten().flat_map(Costs::keys).collect();
    let program = |name: &String| Program {
        name: name.clone(),
        loads: rounds.each_ref().map(|costs| spread(costs, name)),
    };
    names.into_iter().map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::{Costs, program_of, programs};

    #[test]
    fn a_pin_names_its_program() {
        assert_eq!(program_of("weir_pod_out_12"), "pod_out");
        assert_eq!(program_of("connect4"), "connect");
    }

    #[test]
    fn the_load_that_costs_most_counts() {
        let costs = |nanoseconds| Costs::from([("pod_in".to_owned(), nanoseconds)]);
        let rounds = [vec![costs(50.0), costs(70.0)], vec![costs(40.0)], vec![]];
        let [program] = &programs(&rounds)[..] else {
            panic!("one program");
        };
        assert_eq!(
            program.loads.map(|load| load.map(|load| load.median)),
            [Some(60.0), Some(40.0), None]
        );
        assert_eq!(program.worst().unwrap().median, 60.0);
    }
}
