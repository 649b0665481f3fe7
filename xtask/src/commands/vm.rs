//! `./x vm`.

mod guest;
mod kernel;
mod script;

use std::env;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use self::guest::Clock;
use self::kernel::{Kernel, Store};
use super::build;
use crate::{process, setup, workspace};

/// The kernels of Debian 12.
const DEFAULT_SERIES: &[&str] = &["6.1", "6.12"];
const PACKAGES: &[&str] = &[
    "qemu-system-x86",
    "busybox-static",
    "cpio",
    "kmod",
    "zstd",
    "xz-utils",
];

/// Tests that take drivers which not every kernel has, what older kernels do in another way, and what newest features need
/// of them; and what is not to be done to a machine that goes on. Which of a package's tests, and which of those.
const TESTS: &[(&str, &str, &str)] = &[
    ("weir-agent", "bpf_datapath", ""),
    ("weir-agent", "bpf_sys", ""),
    ("weir-agent", "bpf_verified", ""),
    ("weir-agent", "world_balancer", ""),
    ("weir-agent", "world_capabilities", "without_net_admin"),
    ("weir-agent", "world_cni", "--ignored"),
    ("weir-agent", "world_endings", "without_a_word"),
    ("weir-agent", "world_guard", "a_qdisc"),
    ("weir-netdetect", "world_wirings", ""),
    ("weir-netdetect", "world_plugins", ""),
    ("weir-agent", "world_drivers", ""),
    ("weir-agent", "world_node", "listeners::bridge::a_listener"),
    ("weir-agent", "world_node", "reach::bridge"),
    ("weir-agent", "world_node", "sideless"),
    ("weir-agent", "world_node", "netkit"),
];
/// Tells tests that a missing driver is a failure.
const ALL_DRIVERS: &str = "WEIR_ALL_DRIVERS=1";

/// Before the kernels: deadlines are to mean what they mean on an ordinary machine.
const PACED: &str = "--paced";

pub(super) fn run(arguments: &[String]) -> Result<()> {
    let (clock, arguments) = clock(arguments);
    let (series, command) = parse(arguments);
    setup::System::read()?.require_packages(PACKAGES)?;
    let store = Store::open();
    // All are found before the first one runs: a kernel that is not there must not go unnoticed.
    let kernels = series
        .iter()
        .map(|series| store.kernel(series))
        .collect::<Result<Vec<_>>>()?;
    let commands = if command.is_empty() {
        default_commands()?
    } else {
        vec![command.to_vec()]
    };
    let script = script::script(&env::current_dir()?, &script::environment(), &commands);
    on_each(&kernels, &script, clock)
}

/// Runs what takes drivers that this machine's kernel may lack, on kernels that have them all.
pub(super) fn test_kernels() -> Result<()> {
    setup::System::read()?.require_packages(PACKAGES)?;
    let store = Store::open();
    let kernels = DEFAULT_SERIES
        .iter()
        .map(|series| store.kernel(series))
        .collect::<Result<Vec<_>>>()?;
    let mut commands = Vec::new();
    for (package, test, filter) in TESTS {
        let program = test_binary(package, test)?;
        commands.push(vec![
            "env".to_owned(),
            ALL_DRIVERS.to_owned(),
            program,
            (*filter).to_owned(),
        ]);
    }
    let script = script::script(&env::current_dir()?, &script::environment(), &commands);
    on_each(&kernels, &script, Clock::Host)
}

/// Runs the script on all kernels; the exit code is the last one that is not zero.
fn on_each(kernels: &[Kernel], script: &str, clock: Clock) -> Result<()> {
    let mut code = 0;
    for kernel in kernels {
        eprintln!("x: kernel {}", kernel.release);
        let status = guest::run(kernel, script, clock)?;
        eprintln!("x: kernel {}: exit code {status}", kernel.release);
        if status != 0 {
            code = status;
        }
    }
    match code {
        0 => Ok(()),
        code => Err(process::Exited(code).into()),
    }
}

/// What the guest's clock goes by, and the other arguments.
fn clock(arguments: &[String]) -> (Clock, &[String]) {
    match arguments.split_first() {
        Some((first, rest)) if first == PACED => (Clock::Instructions, rest),
        _ => (Clock::Host, arguments),
    }
}

/// The kernels, and the command if there is one.
fn parse(arguments: &[String]) -> (Vec<&str>, &[String]) {
    let (series, command) = match arguments.iter().position(|word| word == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    if series.is_empty() {
        return (DEFAULT_SERIES.to_vec(), command);
    }
    (series.iter().map(String::as_str).collect(), command)
}

/// What the kernel has, and whether it takes the eBPF programs.
fn default_commands() -> Result<Vec<Vec<String>>> {
    setup::ebpf_toolchain()?;
    build::all_binaries(false)?;
    let weir = workspace::target_dir()?.join("debug/weir");
    Ok(vec![
        vec![weir.display().to_string(), "check".to_owned()],
        vec![test_binary("weir-agent", "bpf_datapath")?],
    ])
}

/// Builds a test, and finds the program.
fn test_binary(package: &str, test: &str) -> Result<String> {
    let mut cargo = workspace::cargo()?;
    cargo
        .args(["test", "--quiet", "--no-run", "--message-format=json"])
        .args(["--package", package, "--test", test])
        .stderr(Stdio::inherit());
    let output = cargo.output().context("starting cargo")?;
    ensure!(output.status.success(), "the test {test} cannot be built");
    executable(&String::from_utf8_lossy(&output.stdout), test)
        .with_context(|| format!("cargo names no program of the test {test}"))
}

/// The program of a test in cargo's messages.
fn executable(messages: &str, test: &str) -> Option<String> {
    let target = format!("\"name\":\"{test}\"");
    let message = messages
        .lines()
        .find(|line| line.contains(&target) && line.contains("\"executable\":\""))?;
    let (_, rest) = message.split_once("\"executable\":\"")?;
    rest.split_once('"').map(|(path, _)| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Clock, clock, executable, parse};

    #[test]
    fn kernels_come_before_the_dashes_and_the_command_after() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (line, kernels, command) in [
            ("", "6.1 6.12", ""),
            ("6.12", "6.12", ""),
            ("-- uname -r", "6.1 6.12", "uname -r"),
            ("6.1 -- sh -- x", "6.1", "sh -- x"),
        ] {
            assert_eq!(parse(&words(line)).0.join(" "), kernels, "{line:?}");
            assert_eq!(parse(&words(line)).1.join(" "), command, "{line:?}");
        }
    }

    #[test]
    fn the_clock_is_said_before_the_kernels() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let paced = words("--paced 6.1 -- x");
        assert_eq!(clock(&paced), (Clock::Instructions, &paced[1..]));
        let command = words("6.1 -- x --paced");
        assert_eq!(clock(&command), (Clock::Host, &command[..]));
    }

    #[test]
    fn the_program_is_that_of_the_test() {
        let messages = r#"{"target":{"name":"weir"},"executable":"/t/weir"}
{"target":{"name":"bpf_datapath"},"executable":null}
{"target":{"name":"bpf_datapath"},"executable":"/t/bpf_datapath-1"}"#;
        assert_eq!(executable(messages, "bpf_datapath").unwrap(), "/t/bpf_datapath-1");
        assert_eq!(executable(messages, "bpf_guard"), None);
    }
}
