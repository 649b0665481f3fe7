//! What `deny.toml` demands of our dependencies.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::setup::CARGO_DENY;
use crate::steps::Outcome;
use crate::{process, workspace};

/// How long the database of advisories may take to arrive.
const FETCH_DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn rules() -> Result<Outcome> {
    process::run(cargo_deny()?.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    Ok(Outcome::Passed)
}

/// Known vulnerabilities. Without the network there is nothing to compare with, which is no fault of the tree.
pub(super) fn advisories() -> Result<Outcome> {
    let mut fetch = cargo_deny()?;
    fetch.args(["--log-level", "off", "fetch", "db"]);
    if !ends_well_within(&mut fetch, FETCH_DEADLINE)? {
        return Ok(Outcome::NotChecked(
            "the database of advisories cannot be reached".to_owned(),
        ));
    }
    process::run(cargo_deny()?.args(["check", "--disable-fetch", "advisories"]))?;
    Ok(Outcome::Passed)
}

fn cargo_deny() -> Result<Command> {
    let mut command = Command::new(CARGO_DENY.path()?);
    command.current_dir(workspace::root()?);
    Ok(command)
}

/// Whether a command succeeds before the deadline; it is ended if it does not.
fn ends_well_within(command: &mut Command, deadline: Duration) -> Result<bool> {
    let mut child = command.spawn().context("starting cargo-deny")?;
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::ends_well_within;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn a_command_that_hangs_is_ended() {
        let deadline = Duration::from_millis(100);
        assert!(!ends_well_within(Command::new("sleep").arg("3600"), deadline).unwrap());
    }

    #[test]
    fn success_and_failure_are_told_apart() {
        let deadline = Duration::from_secs(60);
        assert!(ends_well_within(&mut Command::new("true"), deadline).unwrap());
        assert!(!ends_well_within(&mut Command::new("false"), deadline).unwrap());
    }
}
