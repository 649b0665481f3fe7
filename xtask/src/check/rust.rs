//! Checks that the Rust toolchain brings.

use anyhow::Result;
use weir_ebpf_build::{Job, Origin, Toolchain};

use crate::setup::System;
use crate::steps::Outcome;
use crate::{process, workspace};

const EBPF_PACKAGES: &[&str] = &["weir-sockops-ebpf", "weir-tc-ebpf"];

pub(super) fn fmt(system: &System) -> Result<Outcome> {
    // Debian's cargo comes without it; rustup's brings its own.
    system.require_program("cargo-fmt", "rustfmt-web")?;
    process::run(workspace::cargo()?.args(["fmt", "--all", "--check"]))?;
    Ok(Outcome::Passed)
}

pub(super) fn clippy(system: &System) -> Result<Outcome> {
    system.require_program("cargo-clippy", "rust-web-clippy")?;
    process::run(workspace::cargo()?.args([
        "clippy",
        "--quiet",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    Ok(Outcome::Passed)
}

/// The eBPF crates see other lints than the host's: they compile only for the kernel's target.
pub(super) fn clippy_ebpf(system: &System, toolchain: &Toolchain) -> Result<Outcome> {
    let (root, target_dir) = (workspace::root()?, workspace::target_dir()?.join("ebpf"));
    let endian = if cfg!(target_endian = "big") {
        "big"
    } else {
        "little"
    };
    let job = Job {
        workspace: &root,
        packages: EBPF_PACKAGES,
        target_dir: &target_dir,
        endian,
        arch: std::env::consts::ARCH,
    };
    if job.clippy(toolchain).is_none() && toolchain.origin == Origin::Debian {
        system.require_file("/usr/bin/cargo-clippy", "rust-web-clippy")?;
    }
    match job.clippy(toolchain) {
        None => Ok(Outcome::NotChecked(
            "the toolchain that compiles eBPF has no clippy".to_owned(),
        )),
        Some(mut clippy) => {
            process::run(clippy.args(["--quiet", "--", "--deny", "warnings"]))?;
            Ok(Outcome::Passed)
        }
    }
}

pub(super) fn doc() -> Result<Outcome> {
    let mut cargo = workspace::cargo()?;
    cargo.env("RUSTDOCFLAGS", "--deny warnings");
    process::run(cargo.args(["doc", "--quiet", "--no-deps", "--document-private-items"]))?;
    Ok(Outcome::Passed)
}
