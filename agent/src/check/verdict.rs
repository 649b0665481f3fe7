//! From what was found to what it means.

use serde::{Serialize, Serializer};

use super::feature::{Feature, Path};

/// Whether a feature is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Ok,
    /// This machine does not have it.
    Missing,
    /// This process may not use it.
    Denied,
}

impl State {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Denied => "denied",
        }
    }
}

/// What came of trying a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it is there.
    pub state: State,
    /// What was seen; may be empty when it is there.
    pub why: String,
}

impl Outcome {
    /// It works; `note` is worth knowing, or empty.
    pub fn ok(note: impl Into<String>) -> Self {
        Self {
            state: State::Ok,
            why: note.into(),
        }
    }

    /// The machine does not have it.
    pub fn missing(why: impl Into<String>) -> Self {
        Self {
            state: State::Missing,
            why: why.into(),
        }
    }

    /// This process may not use it.
    pub fn denied(why: impl Into<String>) -> Self {
        Self {
            state: State::Denied,
            why: why.into(),
        }
    }
}

/// A feature and what came of trying it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was tried.
    pub feature: &'static Feature,
    /// What came of it.
    pub outcome: Outcome,
}

/// Whether Weir can work here; the discriminant is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Readiness {
    /// Everything that is used by default works.
    Ready = 0,
    /// Some path does not work.
    Degraded = 2,
    /// No traffic can be redirected at all.
    Unusable = 3,
}

impl Readiness {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Unusable => "unusable",
        }
    }
}

/// A path, and the features that keep it from working.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathState {
    /// The path.
    #[serde(serialize_with = "path_name")]
    pub path: Path,
    /// What is missing; empty when the path works.
    pub blocked_by: Vec<&'static str>,
}

/// Everything that was found, judged.
#[derive(Clone, Debug)]
pub struct Report {
    /// The verdict.
    pub readiness: Readiness,
    /// Path by path.
    pub paths: Vec<PathState>,
    /// Feature by feature, in the order of the table.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Judges what was found.
    #[must_use]
    pub fn new(findings: Vec<Finding>) -> Self {
        let paths: Vec<_> = Path::ALL
            .iter()
            .map(|path| path_state(*path, &findings))
            .collect();
        Self {
            readiness: verdict(&paths),
            paths,
            findings,
        }
    }
}

/// Whether Weir can work, given which paths do.
fn verdict(paths: &[PathState]) -> Readiness {
    let works = |state: &&PathState| state.blocked_by.is_empty();
    if !paths.iter().filter(works).any(|state| state.path.redirects()) {
        return Readiness::Unusable;
    }
    if paths.iter().all(|state| works(&state)) {
        Readiness::Ready
    } else {
        Readiness::Degraded
    }
}

fn path_state(path: Path, findings: &[Finding]) -> PathState {
    let blocked_by = findings
        .iter()
        .filter(|finding| finding.feature.needed_by.contains(&path) && !is_served(finding, findings))
        .map(|finding| finding.feature.name)
        .collect();
    PathState { path, blocked_by }
}

/// The feature works, or the one that stands in for it.
fn is_served(finding: &Finding, findings: &[Finding]) -> bool {
    let works = |name: &str| {
        findings
            .iter()
            .any(|other| other.feature.name == name && other.outcome.state == State::Ok)
    };
    finding.outcome.state == State::Ok || finding.feature.instead.is_some_and(works)
}

fn path_name<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path.name())
}

#[cfg(test)]
mod tests;
