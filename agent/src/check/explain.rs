//! What a finding costs, and what to do about it.

use super::feature::{Path, Probe};
use super::verdict::{Finding, Report, State};

const MISSING_RIGHTS: &str = "the missing capabilities, above";
const SOMETHING_DENIES: &str = "find the read-only mount, seccomp profile or security module that denies it";

impl Report {
    /// The capabilities that this process lacks.
    #[must_use]
    pub fn missing_rights(&self) -> Vec<&'static str> {
        let is_missing = |finding: &&Finding| is_capability(finding) && finding.outcome.state != State::Ok;
        self.findings
            .iter()
            .filter(is_missing)
            .map(|finding| finding.feature.name)
            .collect()
    }

    /// Which paths do not work because of this, and what else is lost; empty if it is there.
    #[must_use]
    pub fn costs(&self, finding: &Finding) -> String {
        if finding.outcome.state == State::Ok {
            return String::new();
        }
        let is_blocked = |blocked_by: &[&str]| blocked_by.contains(&finding.feature.name);
        let paths: Vec<_> = self
            .paths
            .iter()
            .filter(|state| is_blocked(&state.blocked_by))
            .map(|state| state.path)
            .collect();
        if paths.is_empty() {
            return finding.feature.costs.to_owned();
        }
        format!("{}: {}", path_list(&paths), finding.feature.costs)
    }

    /// What to do; empty if it is there.
    #[must_use]
    pub fn remedy(&self, finding: &Finding) -> &'static str {
        let own = finding.feature.remedy;
        match (finding.outcome.state, finding.feature.probe) {
            (State::Ok, _) => "",
            (State::Missing, _) | (State::Denied, Probe::Capability(_)) => own,
            (State::Denied, _) if !self.missing_rights().is_empty() => MISSING_RIGHTS,
            (State::Denied, Probe::Sysctl(_)) => own,
            (State::Denied, _) => SOMETHING_DENIES,
        }
    }
}

fn path_list(paths: &[Path]) -> String {
    if paths.len() == Path::ALL.len() {
        return "everything".to_owned();
    }
    paths
        .iter()
        .map(|path| path.name())
        .collect::<Vec<_>>()
        .join(", ")
}

fn is_capability(finding: &Finding) -> bool {
    matches!(finding.feature.probe, Probe::Capability(_))
}
