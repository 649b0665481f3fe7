//! `./x build`.

use anyhow::{Result, bail};

use crate::{process, setup, workspace};

pub(super) fn run(arguments: &[String]) -> Result<()> {
    let release = match arguments {
        [] => false,
        [flag] if flag == "--release" => true,
        _ => bail!("usage: ./x build [--release]"),
    };
    setup::ebpf_toolchain()?;
    all_binaries(release)
}

/// World tests and the demo start these programs from the target directory.
pub(super) fn all_binaries(release: bool) -> Result<()> {
    let mut cargo = workspace::cargo()?;
    cargo.args(["build", "--bins"]);
    if release {
        cargo.arg("--release");
    }
    process::run(&mut cargo)
}
