//! `weir check`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;
use weir_agent::check::verdict::PathState;
use weir_agent::check::{Finding, Readiness, Report, State, try_everything};
use weir_agent::container;

use super::output::{Colour, Output, Style};
use super::table::{Cell, Table};

/// Tries whether Weir can work on this machine, and says what is missing.
///
/// Exit code 0: ready, 2: some path does not work, 3: nothing can be redirected.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cgroup2 directory that Weir will attach to, if not where cgroup2 is mounted.
    #[arg(long, env = "WEIR_CGROUP", value_name = "DIRECTORY")]
    cgroup: Option<PathBuf>,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    container::step_out()?;
    let report = try_everything(args.cgroup.as_deref()).context("no thread for the probes")?;
    let answer = Answer::new(&report);
    output.print(&answer, |style| text(&answer, style))?;
    Ok(ExitCode::from(report.readiness as u8))
}

/// What programs read.
#[derive(Serialize)]
struct Answer<'a> {
    readiness: Readiness,
    paths: &'a [PathState],
    missing_rights: Vec<&'static str>,
    features: Vec<Line<'a>>,
}

/// A line of the table.
#[derive(Serialize)]
struct Line<'a> {
    feature: &'static str,
    state: State,
    why: &'a str,
    costs: String,
    remedy: &'static str,
}

impl<'a> Answer<'a> {
    fn new(report: &'a Report) -> Self {
        let line = |finding: &'a Finding| Line {
            feature: finding.feature.name,
            state: finding.outcome.state,
            why: &finding.outcome.why,
            costs: report.costs(finding),
            remedy: report.remedy(finding),
        };
        Self {
            readiness: report.readiness,
            paths: &report.paths,
            missing_rights: report.missing_rights(),
            features: report.findings.iter().map(line).collect(),
        }
    }
}

/// What people read: features, then paths, then the verdict.
fn text(answer: &Answer<'_>, style: Style) -> String {
    let mut features = Table::new(["FEATURE", "STATE", "WHY", "COSTS", "REMEDY"]);
    for line in &answer.features {
        let state = Cell::coloured(line.state.name(), state_colour(line.state));
        features.push([
            line.feature.into(),
            state,
            line.why.into(),
            line.costs.as_str().into(),
            line.remedy.into(),
        ]);
    }
    let mut paths = Table::new(["PATH", "WORKS", "BLOCKED BY"]);
    for state in answer.paths {
        let works = if state.blocked_by.is_empty() {
            Cell::coloured("yes", Colour::Good)
        } else {
            Cell::coloured("no", Colour::Bad)
        };
        paths.push([
            state.path.name().into(),
            works,
            state.blocked_by.join(", ").into(),
        ]);
    }
    format!(
        "{}\n{}\n{}\n",
        features.render(style),
        paths.render(style),
        verdict(answer, style)
    )
}

fn verdict(answer: &Answer<'_>, style: Style) -> String {
    let colour = match answer.readiness {
        Readiness::Ready => Colour::Good,
        Readiness::Degraded => Colour::Warning,
        Readiness::Unusable => Colour::Bad,
    };
    let word = style.paint(colour, answer.readiness.name());
    if answer.missing_rights.is_empty() {
        return word;
    }
    format!(
        "{word}; this process lacks {}: run as root or grant them, then what is denied can be tried",
        answer.missing_rights.join(", ")
    )
}

fn state_colour(state: State) -> Colour {
    match state {
        State::Ok => Colour::Good,
        State::Denied => Colour::Warning,
        State::Missing => Colour::Bad,
    }
}

#[cfg(test)]
mod tests;
