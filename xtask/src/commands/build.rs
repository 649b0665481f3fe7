//! `./x build`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    let (plugin, others): (Vec<_>, Vec<_>) = IN_IMAGES.iter().partition(|(_, program)| *program == PLUGIN);
    let wanted = build_static(&others, "--bins", &ordinary(GLIBC))?;
    build_static(&plugin, "--bins", &as_plugin(c_library_of_plugin()?))?;
    println!("{}", wanted.display());
    Ok(())
}

const PLUGIN: &str = "weir-cni";

/// The plugin as it is shipped, and a program that does nothing, to measure it by. That one is no plugin: it stays the program that
/// Rust makes of nothing, so that whatever is done to the plugin shows.
pub(super) fn static_plugin() -> Result<()> {
    let library = c_library_of_plugin()?;
    build_static(&[(PLUGIN, PLUGIN)], "--bins", &as_plugin(library))?;
    build_static(&[(PLUGIN, "examples/nothing")], "--examples", &ordinary(library)).map(drop)
}

const GLIBC: &str = "gnu";
const MUSL: &str = "musl";

/// The plugin is started anew for each pod, and glibc's start asks the CPU for each of its caches, which on a virtual
/// machine is a trap each time: with musl an empty program takes a third of the CPU time. Not every toolchain has it.
fn c_library_of_plugin() -> Result<&'static str> {
    if has_musl()? || (can_add_musl() && has_musl()?) {
        return Ok(MUSL);
    }
    eprintln!(
        "x: this toolchain has no {}: the CNI plugin is built with glibc and starts slower",
        target(MUSL)
    );
    Ok(GLIBC)
}

fn has_musl() -> Result<bool> {
    let mut rustc = workspace::rustc();
    rustc.args(["--print", "target-libdir", "--target", &target(MUSL)]);
    let output = rustc.output().context("starting rustc")?;
    let directory = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(directory.trim()).is_dir())
}

/// Without a network, or where the toolchain is not rustup's, it stays as it is.
fn can_add_musl() -> bool {
    const RUSTUP: &str = "rustup";
    if !process::is_on_path(RUSTUP) {
        return false;
    }
    eprintln!("x: adding {} to the toolchain with rustup", target(MUSL));
    let mut rustup = Command::new(RUSTUP);
    process::run(rustup.args(["target", "add", &target(MUSL)])).is_ok()
}

fn target(library: &str) -> String {
    format!("{}-unknown-linux-{library}", std::env::consts::ARCH)
}

/// How a static program is built.
struct Way {
    target: String,
    profile: &'static str,
    /// In place of those that `.cargo/config.toml` has for the target.
    flags: Option<&'static str>,
}

const STATIC: &str = "-C target-feature=+crt-static";

fn ordinary(library: &str) -> Way {
    Way {
        target: target(library),
        profile: "release",
        flags: Some(STATIC),
    }
}

/// With musl as in `deploy/Dockerfile`.
fn as_plugin(library: &str) -> Way {
    Way {
        target: target(library),
        profile: "plugin",
        flags: (library != MUSL).then_some(STATIC),
    }
}

fn build_static(programs: &[(&str, &str)], kind: &str, way: &Way) -> Result<PathBuf> {
    let mut cargo = workspace::cargo()?;
    match way.flags {
        Some(flags) => cargo.env("RUSTFLAGS", flags),
        None => cargo.env_remove("RUSTFLAGS"),
    };
    // Naming the target keeps the flags away from build scripts, and the objects away from those of other builds.
    cargo.args(["build", "--profile", way.profile, kind, "--target", &way.target]);
    for (package, _) in programs {
        cargo.args(["--package", package]);
    }
    process::run(&mut cargo)?;
    let built = workspace::target_dir()?.join(&way.target).join(way.profile);
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
