//! promtool over the chart's alerts, for those who have it.

use std::process::Command;

use anyhow::Result;

use crate::steps::Outcome;
use crate::{process, workspace};

const RULES: &str = "deploy/helm/weir/files/alerts.yaml";
/// When they fire, and when not.
const TESTS: &str = "deploy/alerts_test.yaml";

pub(super) fn check() -> Result<Outcome> {
    if !process::is_on_path("promtool") {
        return Ok(Outcome::NotChecked(
            "promtool is not installed; Debian's package prometheus has it".to_owned(),
        ));
    }
    for arguments in [["check", "rules", RULES], ["test", "rules", TESTS]] {
        let mut promtool = Command::new("promtool");
        process::run(promtool.current_dir(workspace::root()?).args(arguments))?;
    }
    Ok(Outcome::Passed)
}
