//! The right to make network namespaces and to load eBPF programs.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

const RUNNER_VARIABLE: &str = "WEIR_RUNNER";

/// How test programs become root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// We are root.
    Root,
    /// cargo starts them behind this command; cargo itself stays the developer's.
    Runner(String),
}

impl Privilege {
    /// Fails, with the command to type, when there is neither: a check that did not run must not read as passed.
    pub(crate) fn require(command: &str, arguments: &[String]) -> Result<Self> {
        let user = fs::metadata("/proc/self")
            .context("reading who we are from /proc/self")?
            .uid();
        let typed = [&[command.to_owned()], arguments].concat().join(" ");
        Self::decide(user, env::var(RUNNER_VARIABLE).ok(), &typed)
    }

    fn decide(user: u32, runner: Option<String>, typed: &str) -> Result<Self> {
        match runner.filter(|runner| !runner.is_empty()) {
            _ if user == 0 => Ok(Self::Root),
            Some(runner) => Ok(Self::Runner(runner)),
            None => bail!(
                "`./x {typed}` makes network namespaces and loads eBPF programs, which takes root. Type\n\
                 \n    {RUNNER_VARIABLE}='sudo -E' ./x {typed}\n\n\
                 cargo stays yours, only the test programs run as root. `./x test unit` needs no root."
            ),
        }
    }

    /// Makes `cargo test` and `cargo run` start their programs with these rights.
    pub(crate) fn apply(&self, cargo: &mut Command) -> Result<()> {
        if let Self::Runner(runner) = self {
            cargo.env(runner_variable(&host(cargo)?), runner);
        }
        Ok(())
    }
}

/// The variable through which cargo is told how to start the programs of a target.
fn runner_variable(target: &str) -> String {
    format!(
        "CARGO_TARGET_{}_RUNNER",
        target.to_uppercase().replace(['-', '.'], "_")
    )
}

/// The target triple that cargo builds for.
fn host(cargo: &Command) -> Result<String> {
    let output = Command::new(cargo.get_program())
        .arg("-vV")
        .output()
        .context("starting cargo")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("cargo -vV names no host")?;
    Ok(host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Privilege, runner_variable};

    #[test]
    fn root_needs_no_runner() {
        assert_eq!(
            Privilege::decide(0, Some("sudo -E".to_owned()), "test").unwrap(),
            Privilege::Root
        );
    }

    #[test]
    fn anybody_else_needs_one() {
        let runner = Privilege::decide(1000, Some("sudo -E".to_owned()), "test").unwrap();
        assert_eq!(runner, Privilege::Runner("sudo -E".to_owned()));
        for unset in [None, Some(String::new())] {
            let error = Privilege::decide(1000, unset, "test world")
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("\n    WEIR_RUNNER='sudo -E' ./x test world\n"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_target_becomes_a_variable() {
        assert_eq!(
            runner_variable("x86_64-unknown-linux-gnu"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
        );
    }
}
