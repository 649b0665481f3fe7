//! The command line: one file per subcommand, each with its `Args` and a `run`.

mod agent;
mod asking;
mod check;
mod cleanup;
mod detect;
mod output;
mod status;
mod table;
mod trace;
mod verify;
mod version;

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use output::{Format, Output};

/// Something went wrong that is no answer to what was asked.
const FAILED: u8 = 1;
/// The command line is wrong; not clap's 2, which `weir check` uses for an answer.
const WRONG_USAGE: u8 = 64;

/// Redirects pod traffic to ztunnel with eBPF.
#[derive(Debug, Parser)]
#[command(name = "weir", version)]
pub struct Cli {
    /// How to print.
    #[arg(short, long, global = true, env = "WEIR_OUTPUT", value_enum, default_value_t)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Agent(Box<agent::Args>),
    Check(check::Args),
    Cleanup(cleanup::Args),
    Detect(detect::Args),
    Status(status::Args),
    Trace(trace::Args),
    Verify(verify::Args),
    Version(version::Args),
}

/// Reads the command line and the environment.
pub fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse()
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> Result<ExitCode> {
        let output = Output::to_stdout(self.output);
        match self.command {
            Command::Agent(args) => agent::run(*args),
            Command::Cleanup(args) => cleanup::run(&args, &output),
            Command::Detect(args) => detect::run(&args, &output),
            Command::Check(args) => check::run(&args, &output),
            Command::Status(args) => status::run(&args, &output),
            Command::Trace(args) => trace::run(&args, &output),
            Command::Verify(args) => verify::run(&args, &output),
            Command::Version(args) => version::run(&args, &output),
        }
    }
}

/// Says what went wrong, with its causes.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    let is_closed_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    if error.downcast_ref::<io::Error>().is_some_and(is_closed_pipe) {
        // Whoever was reading, such as `head`, has seen enough.
        return ExitCode::SUCCESS;
    }
    eprintln!("weir: {error:#}");
    FAILED.into()
}

/// Prints help, the version, or what is wrong with the command line.
pub fn wrong_usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match (error.use_stderr(), printed) {
        (false, Ok(())) => ExitCode::SUCCESS,
        (false, Err(error)) => failed(&error.into()),
        (true, _) => WRONG_USAGE.into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn every_flag_can_come_from_the_environment() {
        let command = Cli::command();
        let all = std::iter::once(&command).chain(command.get_subcommands());
        for argument in all.flat_map(clap::Command::get_opts) {
            let flag = argument.get_long().unwrap();
            // The node's name goes by the name that it has in everybody's DaemonSets.
            let prefix = if flag == "node-name" { "" } else { "WEIR_" };
            let variable = format!("{prefix}{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(argument.get_env(), Some(variable.as_ref()), "--{flag}");
        }
        Cli::command().debug_assert();
    }
}
