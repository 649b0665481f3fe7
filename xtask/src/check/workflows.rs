//! actionlint over the workflows, for those who have it.

use std::process::Command;

use anyhow::Result;

use crate::steps::Outcome;
use crate::{process, workspace};

pub(super) fn check() -> Result<Outcome> {
    if !process::is_on_path("actionlint") {
        return Ok(Outcome::NotChecked("actionlint is not installed".to_owned()));
    }
    process::run(Command::new("actionlint").current_dir(workspace::root()?))?;
    Ok(Outcome::Passed)
}
