//! The rules that others redirect by.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

pub mod in_pod;
pub mod node;

/// The program that applies them.
pub const PROGRAM: &str = "iptables-restore";

/// The version of the program, with which back end of the kernel it works.
pub fn version() -> Result<String> {
    let output = Command::new(PROGRAM)
        .arg("--version")
        .output()
        .with_context(|| format!("{PROGRAM} is missing: install the package iptables"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Replaces the rules of the calling thread's namespace.
fn restore(rules: &str) -> Result<()> {
    let mut program = Command::new(PROGRAM)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("{PROGRAM} is missing: install the package iptables"))?;
    if let Some(mut input) = program.stdin.take() {
        input.write_all(rules.as_bytes())?;
    }
    let status = program.wait()?;
    if !status.success() {
        bail!("{PROGRAM} refuses the rules ({status}): has the kernel what they name?\n{rules}");
    }
    Ok(())
}
