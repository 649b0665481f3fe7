//! `weir version`

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use weir_common::names::LAYOUT_VERSION;

use super::output::Output;
use super::table::Table;

/// Tells the version, and that of the layout of what is pinned.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Fields of the answer.
#[derive(Serialize)]
struct Version {
    version: &'static str,
    /// Agents with the same number adopt each other's pins.
    layout: u32,
}

pub fn run(_: &Args, output: &Output) -> Result<ExitCode> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        layout: LAYOUT_VERSION,
    };
    output.print(&version, |style| {
        let mut table = Table::new(["VERSION", "LAYOUT"]);
        table.push([version.version.into(), version.layout.to_string().into()]);
        table.render(style)
    })?;
    Ok(ExitCode::SUCCESS)
}
