//! The stand-in proxy's process.
#![forbid(unsafe_code)]

use clap::Parser;

fn main() -> anyhow::Result<()> {
    weir_standin::run::run(weir_standin::cli::Cli::parse())
}
