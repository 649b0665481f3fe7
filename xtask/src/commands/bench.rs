//! `./x bench`.

use anyhow::Result;

use super::build;
use crate::privilege::Privilege;
use crate::{process, setup, workspace};

/// What the baseline is made with, and the package that has it.
const RULES: (&str, &str) = ("iptables-restore", "iptables");

pub(super) fn run(arguments: &[String]) -> Result<()> {
    let privilege = Privilege::require("bench", arguments)?;
    setup::ebpf_toolchain()?;
    setup::System::read()?.require_program(RULES.0, RULES.1)?;
    build::all_binaries(true)?;
    build::static_plugin()?;
    let mut cargo = workspace::cargo()?;
    cargo
        .args(["run", "--quiet", "--release", "--package", "weir-bench", "--"])
        .args(arguments);
    privilege.apply(&mut cargo)?;
    process::run(&mut cargo)
}
