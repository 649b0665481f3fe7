//! Shows on this machine what Weir does: who reaches whom, by which way, and what each side sees.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use weir_testbeds::demo;

fn main() -> ExitCode {
    match demo::run(&demo::Args::parse()) {
        Ok(outcome) => outcome.into(),
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-demo: {error}");
            ExitCode::FAILURE
        }
    }
}
