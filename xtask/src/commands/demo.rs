//! `./x demo`.

use anyhow::Result;

use super::build;
use crate::privilege::Privilege;
use crate::{process, setup, workspace};

pub(super) fn run(arguments: &[String]) -> Result<()> {
    let privilege = Privilege::require("demo", arguments)?;
    setup::ebpf_toolchain()?;
    build::all_binaries(false)?;
    let mut cargo = workspace::cargo()?;
    cargo
        .args([
            "run",
            "--quiet",
            "--package",
            "weir-testbeds",
            "--bin",
            "weir-demo",
            "--",
        ])
        .args(arguments);
    privilege.apply(&mut cargo)?;
    match process::become_it(&mut cargo)? {}
}
