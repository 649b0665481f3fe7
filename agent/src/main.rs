//! The binary `weir`: the node agent, and what an operator asks it.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => cli.run().unwrap_or_else(|error| cli::failed(&error)),
        Err(usage) => cli::wrong_usage(&usage),
    }
}
