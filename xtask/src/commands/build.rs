//! `./x build`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::{process, setup, workspace};

pub(super) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let build = match words[..] {
        [] => || all_binaries(false),
        ["--release"] => || all_binaries(true),
        ["--static"] => static_binaries,
        _ => bail!("usage: ./x build [--release|--static]"),
    };
    setup::ebpf_toolchain()?;
    build()
}

/// What images are made of, and the node's own CNI plugin: programs that need no library of where they run.
const IN_IMAGES: &[(&str, &str)] = &[
    ("weir-agent", "weir"),
    ("weir-cni", "weir-cni"),
    ("weir-conformance", "weir-conformance"),
];

fn static_binaries() -> Result<()> {
    let wanted = build_static(IN_IMAGES, "--bins")?;
    println!("{}", wanted.display());
    Ok(())
}

/// The plugin as it is shipped, and a program that does nothing, to measure it by.
pub(super) fn static_plugin() -> Result<()> {
    build_static(&[("weir-cni", "weir-cni")], "--bins")?;
    build_static(&[("weir-cni", "examples/nothing")], "--examples").map(drop)
}

fn build_static(programs: &[(&str, &str)], kind: &str) -> Result<PathBuf> {
    // Naming the target keeps the flags away from build scripts, and the objects away from those of other builds.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = workspace::cargo()?;
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").args([
        "build",
        "--release",
        kind,
        "--target",
        &target,
    ]);
    for (package, _) in programs {
        cargo.args(["--package", package]);
    }
    process::run(&mut cargo)?;
    let built = workspace::target_dir()?.join(target).join("release");
    let wanted = workspace::target_dir()?.join("static");
    fs::create_dir_all(&wanted).with_context(|| wanted.display().to_string())?;
    for (_, program) in programs {
        let from = built.join(program);
        let name = from.file_name().context("a program without a name")?;
        fs::copy(&from, wanted.join(name)).with_context(|| (*program).to_owned())?;
    }
    Ok(wanted)
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
