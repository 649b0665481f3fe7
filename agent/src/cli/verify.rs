//! `weir verify`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use hyper::Method;
use weir_agent::admin::client::{self, ClientError};
use weir_agent::api::status::Problem;
use weir_agent::api::verify::{PinnedReport, VerifiedPod, VerifyReport};
use weir_agent::container;
use weir_agent::pods::netns::HOST_NETNS;
use weir_agent::verify::pinned;

use super::asking::{self, Where};
use super::output::{Colour, Output, Style};
use super::table::{Cell, Table};

/// Some pod is not as it should be.
const PROBLEMS: u8 = 1;

/// Proves that pods are redirected, and mends what it can.
///
/// Exit code 0: all is well, 1: there are problems, 3: no agent answers (what the kernel holds is looked at instead, and
/// shows no problem), 4: no such pod.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One pod: its name, namespace/name, or UID.
    pod: Option<String>,
    /// A handle of the node's own network namespace, for when no agent answers.
    #[arg(long, env = "WEIR_HOST_NETNS", value_name = "PATH", default_value = HOST_NETNS)]
    host_netns: PathBuf,
    #[command(flatten)]
    at: Where,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let path = asking::path("/verify", args.pod.as_deref());
    let asked = client::ask::<VerifyReport>(&args.at.admin_socket, Method::POST, &path);
    let report = match asking::wait_for(asked)? {
        Ok(report) => report,
        Err(error @ ClientError::Down { .. }) => {
            let down = asking::no_answer(error)?;
            asking::tell_of_other_layouts(&args.at)?;
            if !args.at.pins().exist() {
                return Ok(down);
            }
            return without_agent(args, output).map(|is_well| if is_well { down } else { PROBLEMS.into() });
        }
        Err(error) => return asking::no_answer(error),
    };
    output.print(&report, |style| text(&report, style))?;
    if report.pods.iter().all(VerifiedPod::is_well) {
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(PROBLEMS.into())
    }
}

/// The kernel goes on without an agent; whether it does it right can be seen, but pods have no names.
fn without_agent(args: &Args, output: &Output) -> Result<bool> {
    container::step_out()?;
    let report = pinned::report(&args.at.pins(), &args.host_netns)?;
    output.print(&report, |style| pinned_text(&report, style))?;
    Ok(report.pods.iter().all(|pod| pod.problems.is_empty()))
}

fn pinned_text(report: &PinnedReport, style: Style) -> String {
    let mut table = Table::new(["NETNS COOKIE", "RESULT", "CHECK", "DETAIL"]);
    for pod in &report.pods {
        for [result, check, detail] in problem_rows(&pod.problems, &[]) {
            table.push([pod.netns.to_string().into(), result, check, detail]);
        }
    }
    table.render(style)
}

fn text(report: &VerifyReport, style: Style) -> String {
    let mut table = Table::new(["POD", "RESULT", "CHECK", "DETAIL"]);
    for pod in &report.pods {
        let name = format!("{}/{}", pod.namespace, pod.name);
        for [result, check, detail] in rows(pod) {
            table.push([name.as_str().into(), result, check, detail]);
        }
    }
    table.render(style)
}

/// A row for each problem, mended or not, or one that says that there is none.
fn rows(pod: &VerifiedPod) -> Vec<[Cell; 3]> {
    let Some(verified) = pod.verified.as_ref().filter(|_| pod.state == "enrolled") else {
        let colour = if pod.is_well() { Colour::Good } else { Colour::Bad };
        return vec![[
            Cell::coloured(&pod.state, colour),
            "".into(),
            pod.why.as_str().into(),
        ]];
    };
    problem_rows(&verified.problems, &verified.mended)
}

fn problem_rows(problems: &[Problem], mended: &[Problem]) -> Vec<[Cell; 3]> {
    let row = |word: &str, colour, problem: &Problem| {
        let (check, detail) = (problem.check.as_str(), problem.detail.as_str());
        [Cell::coloured(word, colour), check.into(), detail.into()]
    };
    let problems = problems
        .iter()
        .map(|problem| row("problem", Colour::Bad, problem));
    let mended = mended
        .iter()
        .map(|problem| row("mended", Colour::Warning, problem));
    let rows: Vec<_> = problems.chain(mended).collect();
    if rows.is_empty() {
        return vec![[Cell::coloured("ok", Colour::Good), "".into(), "".into()]];
    }
    rows
}

#[cfg(test)]
mod tests {
    use weir_agent::api::VERSION;
    use weir_agent::api::status::{Problem, Verified};
    use weir_agent::api::verify::{VerifiedPod, VerifyReport};

    use super::text;
    use crate::cli::output::Style;

    fn pod(name: &str, state: &str, problems: &[&str], mended: &[&str]) -> VerifiedPod {
        let list = |details: &[&str]| {
            let problem = |detail: &&str| Problem {
                check: "routing".to_owned(),
                detail: (*detail).to_owned(),
            };
            details.iter().map(problem).collect()
        };
        VerifiedPod {
            uid: name.to_owned(),
            namespace: "default".to_owned(),
            name: name.to_owned(),
            state: state.to_owned(),
            why: format!("is {state}"),
            verified: Some(Verified {
                at: "2026-08-01T10:00:00.000Z".parse().unwrap(),
                problems: list(problems),
                mended: list(mended),
            }),
        }
    }

    #[test]
    fn each_problem_has_a_row() {
        let report = VerifyReport {
            api_version: VERSION,
            pods: vec![
                pod("fine", "enrolled", &[], &[]),
                pod("sick", "enrolled", &["rule gone"], &["route gone"]),
                pod("late", "pending", &[], &[]),
                pod("out", "left", &[], &[]),
            ],
        };
        let expected = "\
POD           RESULT   CHECK    DETAIL
default/fine  ok       -        -
default/sick  problem  routing  rule gone
default/sick  mended   routing  route gone
default/late  pending  -        is pending
default/out   left     -        is left
";
        assert_eq!(text(&report, Style::PLAIN), expected);
        let well: Vec<bool> = report.pods.iter().map(VerifiedPod::is_well).collect();
        assert_eq!(well, [true, false, false, true]);
    }
}
