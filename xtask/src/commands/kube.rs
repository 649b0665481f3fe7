//! `./x kube`: Kubernetes for tests.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::build;
use crate::privilege::Privilege;
use crate::setup::{self, System};
use crate::{process, workspace};

const SCRIPTS: &str = "testbeds/kube/cluster";
const PACKAGES: &[&str] = &[
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "iproute2",
    "jq",
    "openssl",
    "procps",
    "runc",
];

pub(super) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["programs"] => programs(setup::API_SERVER),
        ["programs", "--all"] => programs(setup::CLUSTER),
        ["up"] => up(arguments),
        ["down"] => script("down.sh", &[], arguments),
        ["shell", machine @ ..] => script("shell.sh", machine, arguments),
        ["test", rest @ ..] => test(rest, arguments),
        _ => bail!("usage: ./x kube up | test | down | shell MACHINE [COMMAND…] | programs [--all]"),
    }
}

fn programs(programs: &[&str]) -> Result<()> {
    println!("{}", setup::kubernetes(programs)?.display());
    Ok(())
}

fn up(arguments: &[String]) -> Result<()> {
    let privilege = Privilege::require("kube", arguments)?;
    let programs = setup::kubernetes(setup::CLUSTER)?;
    System::read()?.require_packages(PACKAGES)?;
    setup::ebpf_toolchain()?;
    build::all_binaries(false)?;
    let mut up = behind(&privilege, Path::new(SCRIPTS).join("up.sh").as_path())?;
    up.env("WEIR_KUBE_PROGRAMS", programs);
    up.env("WEIR_KUBE_TARGET", workspace::target_dir()?.join("debug"));
    process::run(&mut up)
}

fn script(name: &str, words: &[&str], arguments: &[String]) -> Result<()> {
    let privilege = Privilege::require("kube", arguments)?;
    let script = Path::new(SCRIPTS).join(name);
    process::run(behind(&privilege, &script)?.args(words))
}

/// The tests that need the whole cluster are left out where it is not asked for.
fn test(rest: &[&str], arguments: &[String]) -> Result<()> {
    let privilege = Privilege::require("kube", arguments)?;
    let mut cargo = workspace::cargo()?;
    cargo.args([
        "test",
        "--package",
        "weir-kube",
        "--test",
        "cluster",
        "--",
        "--ignored",
        "--nocapture",
    ]);
    privilege.apply(cargo.args(rest))?;
    process::run(&mut cargo)
}

/// A script of ours, with the rights that it needs.
fn behind(privilege: &Privilege, script: &Path) -> Result<Command> {
    let script = workspace::root()?.join(script);
    Ok(match privilege {
        Privilege::Root => Command::new(script),
        Privilege::Runner(runner) => {
            let mut words = runner.split_whitespace();
            let mut command = Command::new(words.next().unwrap_or("sudo"));
            command.args(words).arg(script);
            command
        }
    })
}
