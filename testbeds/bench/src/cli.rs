//! What can be asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Measures direct connections, iptables rules and Weir in turn; with WEIR_ZTUNNEL also behind that ztunnel.
#[derive(Debug, Parser)]
#[command(name = "weir-bench")]
pub struct Cli {
    /// Where the proxy's sockets are; each contract has parts of its own.
    #[arg(value_enum, default_value_t = Contract::InPod)]
    pub contract: Contract,
    /// How often the variants take their turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// One short round, to see that everything works; its numbers mean little.
    #[arg(long)]
    pub quick: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Of starts with the CNI plugin, only those of so many pods at once.
    #[arg(long, value_name = "PODS", value_parser = clap::value_parser!(u16).range(2..=50))]
    at_once: Option<u16>,
    /// What is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Also writes a report in markdown, to docs/bench.md or docs/bench-node.md if no file is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    report: Option<Option<PathBuf>>,
}

/// Where the proxy's sockets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// In every pod: today's ztunnel.
    InPod,
    /// In a pod of its own, as before Istio 1.21.
    Node,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The three variants, by turns.
    Compare,
    /// What the kernel programs cost.
    Hooks,
    /// Enrolment, and a node full of pods (in-pod).
    Scale,
    /// Starts of pods with the CNI plugin (in-pod).
    Cni,
    /// The two ways out of a pod on macvlan (node).
    Macvlan,
}

impl Part {
    /// Whether it belongs to the contract's measurements.
    const fn is_of(self, contract: Contract) -> bool {
        match self {
            Self::Compare | Self::Hooks => true,
            Self::Scale | Self::Cni => matches!(contract, Contract::InPod),
            Self::Macvlan => matches!(contract, Contract::Node),
        }
    }
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl Cli {
    /// Whether a part is wanted.
    pub fn has(&self, part: Part) -> bool {
        part.is_of(self.contract) && (self.only.is_empty() || self.only.contains(&part))
    }

    /// Where the report goes, if one is to be written.
    pub fn report(&self) -> Option<PathBuf> {
        let default = match self.contract {
            Contract::InPod => "docs/bench.md",
            Contract::Node => "docs/bench-node.md",
        };
        let path = self.report.as_ref()?;
        Some(path.clone().unwrap_or_else(|| default.into()))
    }

    /// How many pods start at once, if only so many are to.
    pub fn at_once(&self) -> Option<usize> {
        self.at_once.map(usize::from)
    }

    /// How often the variants take their turns, and how many nodes pods start on.
    pub const fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds }
    }

    /// How long one measurement takes.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 0.4 } else { self.seconds })
    }

    /// How long the load runs before it is measured.
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 0.1 } else { 0.5 })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Cli, Part};

    fn cli(arguments: &str) -> Cli {
        Cli::try_parse_from(["weir-bench"].into_iter().chain(arguments.split_whitespace())).unwrap()
    }

    #[test]
    fn each_contract_has_parts_and_a_report_of_its_own() {
        let parts = [Part::Compare, Part::Hooks, Part::Scale, Part::Cni, Part::Macvlan];
        let of = |arguments| parts.map(|part| cli(arguments).has(part));
        assert_eq!(of(""), [true, true, true, true, false]);
        assert_eq!(of("node"), [true, true, false, false, true]);
        assert_eq!(of("node --only macvlan,cni"), [false, false, false, false, true]);
        assert_eq!(cli("node --report").report(), Some("docs/bench-node.md".into()));
        assert_eq!(cli("--report a.md").report(), Some("a.md".into()));
        assert_eq!(cli("--quick").report(), None);
    }
}
