//! What can be asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Measures direct connections, iptables rules and Weir in turn; with WEIR_ZTUNNEL also behind that ztunnel.
#[derive(Debug, Parser)]
#[command(name = "weir-bench")]
pub struct Cli {
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
    /// What is printed.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Also writes a report in markdown.
    #[arg(long, num_args = 0..=1, default_missing_value = "docs/bench.md")]
    pub report: Option<PathBuf>,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The three variants, by turns.
    Compare,
    /// What the kernel programs cost.
    Hooks,
    /// Enrolment, and a node full of pods.
    Scale,
    /// Starts of pods with the CNI plugin.
    Cni,
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
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How often the variants take their turns.
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
