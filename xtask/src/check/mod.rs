//! `./x check`: what must hold before a merge, short of the tests.

mod alerts;
mod chart;
mod dependencies;
mod rust;
mod shell;
mod unsafe_code;
mod workflows;

use anyhow::Result;

use crate::setup::{self, System, TYPOS};
use crate::steps::{Outcome, Steps};
use crate::{commands, process, workspace};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    commands::no_arguments(arguments)?;
    let toolchain = setup::ebpf_toolchain()?;
    let system = System::read()?;
    let mut steps = Steps::default();
    steps.run("fmt", || rust::fmt(&system));
    steps.run("unsafe", unsafe_code::check);
    steps.run("clippy", || rust::clippy(&system));
    steps.run("clippy eBPF", || rust::clippy_ebpf(&system, &toolchain));
    steps.run("doc", rust::doc);
    steps.run("deny", dependencies::rules);
    steps.run("advisories", dependencies::advisories);
    steps.run("typos", typos);
    steps.run("shellcheck", || shell::check(&system));
    steps.run("chart", chart::check);
    steps.run("alerts", alerts::check);
    steps.run("actionlint", workflows::check);
    steps.finish()
}

fn typos() -> Result<Outcome> {
    let mut typos = std::process::Command::new(TYPOS.path()?);
    process::run(typos.current_dir(workspace::root()?).arg("--hidden"))?;
    Ok(Outcome::Passed)
}
