//! What was measured, in the form that was asked for.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::cli::{Cli, Contract, Output};
use crate::cni::Starts;
use crate::compare::Compared;
use crate::hooks::Hooks;
use crate::machine::Machine;
use crate::packets::PerPacket;
use crate::rules;
use crate::scale::Scale;

mod bars;
mod explain;
mod markdown;
mod table;

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub contract: Contract,
    pub machine: Machine,
    pub rules: String,
    pub rounds: usize,
    pub seconds: f64,
    pub compared: Vec<Compared>,
    pub hooks: Vec<Hooks>,
    pub packets: Vec<PerPacket>,
    pub scale: Option<Scale>,
    pub starts: Option<Starts>,
}

impl Report {
    /// Before anything is measured.
    pub fn new(cli: &Cli) -> Self {
        Self {
            contract: cli.contract,
            machine: Machine::read(),
            rules: rules::version().unwrap_or_else(|error| error.to_string()),
            rounds: cli.rounds(),
            seconds: cli.duration().as_secs_f64(),
            compared: Vec::new(),
            hooks: Vec::new(),
            packets: Vec::new(),
            scale: None,
            starts: None,
        }
    }
}

/// Prints it, and writes it to a file if that was asked for.
pub fn write(report: &Report, cli: &Cli) -> Result<()> {
    match cli.output {
        Output::Table => print!("{}", table::text(report)),
        Output::Json => println!("{}", serde_json::to_string_pretty(report)?),
    }
    if let Some(path) = &cli.report() {
        fs::write(path, markdown::text(report)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
