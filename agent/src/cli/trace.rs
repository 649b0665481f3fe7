//! `weir trace`

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Error, Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use weir_agent::admin::client::{self, ClientError};
use weir_agent::api::trace::{Decision, TraceLine};
use weir_agent::datapath::Datapath;
use weir_agent::run::registry::Registry;
use weir_agent::trace::Tracer;

use super::asking::{self, Where};
use super::output::{Colour, Output, Style};

/// Shows what is decided about connections, as it happens: time, pod, process, verdict, reason, source, destination,
/// and the destination that it got instead, if it got another.
///
/// Exit code 0: as many were shown as were asked for, or the agent ended, 1: something went wrong,
/// 3: no agent answers (decisions are shown all the same, by netns cookie), 4: no such pod.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only one pod: its name, namespace/name, or UID.
    #[arg(long, env = "WEIR_POD", value_name = "POD")]
    pod: Option<String>,
    /// End after so many decisions.
    #[arg(long, env = "WEIR_COUNT", value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    at: Where,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let path = asking::path("/trace", args.pod.as_deref());
    let mut left = args.count;
    let shown = client::follow(&args.at.admin_socket, &path, |line: TraceLine| {
        show(&line, &mut left, output)
    });
    let Err(error) = asking::wait_for(shown)? else {
        return Ok(ExitCode::SUCCESS);
    };
    match error.downcast::<ClientError>()? {
        error @ ClientError::Down { .. } => {
            let code = asking::no_answer(error)?;
            asking::tell_of_other_layouts(&args.at)?;
            if args.at.pins().exist() {
                without_agent(args, output)?;
            }
            Ok(code)
        }
        error => asking::no_answer(error),
    }
}

/// The kernel decides without an agent too, and tells of it as well; but pods have no names.
fn without_agent(args: &Args, output: &Output) -> Result<()> {
    let netns = args.pod.as_deref().map(netns_cookie).transpose()?;
    let mut left = args.count;
    asking::wait_for(async {
        let datapath = Arc::new(Datapath::adopt(args.at.pins()));
        let mut listener = Tracer::new(datapath, Registry::default()).listen(netns)?;
        // Whatever ends this, the kernel side is to stop telling.
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        loop {
            let line = tokio::select! {
                line = listener.next() => line,
                _ = terminate.recv() => None,
                _ = interrupt.recv() => None,
            };
            match line.map(|line| show(&line, &mut left, output)).transpose()? {
                Some(ControlFlow::Continue(())) => {}
                Some(ControlFlow::Break(())) | None => return Ok(()),
            }
        }
    })?
}

/// `netns:17`, as pods are shown whose name nobody knows.
fn netns_cookie(pod: &str) -> Result<u64> {
    let cookie = pod.strip_prefix("netns:").unwrap_or(pod).parse();
    cookie.map_err(|_| {
        anyhow!("without an agent pods have no names: --pod netns:COOKIE, as `weir status` lists them")
    })
}

fn show(line: &TraceLine, left: &mut Option<u64>, output: &Output) -> Result<ControlFlow<()>, Error> {
    match line {
        TraceLine::Listening { .. } => eprintln!("weir: listening"),
        TraceLine::Lost { count } => eprintln!("weir: {count} decisions came too fast to be shown"),
        TraceLine::Decision(decision) => {
            output.line(decision, |style| text(decision, style))?;
            *left = left.map(|left| left.saturating_sub(1));
        }
    }
    Ok(match left {
        Some(0) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
}

fn text(decision: &Decision, style: Style) -> String {
    let colour = match decision.verdict.as_str() {
        "redirected" => Colour::Good,
        "passed" => Colour::Warning,
        _ => Colour::Bad,
    };
    let pod = decision
        .pod
        .clone()
        .unwrap_or_else(|| format!("netns:{}", decision.netns));
    let process = match (&decision.command, decision.process) {
        (Some(command), Some(process)) => format!("{command}[{process}]"),
        (None, Some(process)) => format!("[{process}]"),
        _ => "-".to_owned(),
    };
    let turned_to = decision
        .turned_to
        .map_or_else(String::new, |address| format!(" turned to {address}"));
    format!(
        "{} {pod} {process} {} {} {} -> {}{turned_to}",
        decision.time.time_of_day(),
        style.paint(colour, &decision.verdict),
        decision.reason,
        end(decision.source, decision.source_port),
        end(Some(decision.destination), Some(decision.destination_port)),
    )
}

/// An end of the connection, as far as it is known.
fn end(address: Option<IpAddr>, port: Option<u16>) -> String {
    match (address, port) {
        (Some(address), Some(port)) => SocketAddr::new(address, port).to_string(),
        (Some(address), None) => address.to_string(),
        (None, Some(port)) => format!("*:{port}"),
        (None, None) => "*".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use weir_agent::api::trace::Decision;

    use super::text;
    use crate::cli::output::Style;

    #[test]
    fn a_decision_is_a_line() {
        let mut decision = Decision {
            time: "2026-08-01T10:00:00.123Z".parse().unwrap(),
            pod: Some("default/web".to_owned()),
            netns: 17,
            process: Some(42),
            command: Some("curl".to_owned()),
            verdict: "redirected".to_owned(),
            reason: "outbound".to_owned(),
            source: None,
            source_port: None,
            destination: "fd00::2".parse().unwrap(),
            destination_port: 80,
            turned_to: None,
        };
        assert_eq!(
            text(&decision, Style::PLAIN),
            "10:00:00.123 default/web curl[42] redirected outbound * -> [fd00::2]:80"
        );
        decision.pod = None;
        decision.process = None;
        decision.source = Some("10.0.0.1".parse().unwrap());
        decision.source_port = Some(4000);
        decision.destination = "10.0.0.2".parse().unwrap();
        assert_eq!(
            text(&decision, Style::PLAIN),
            "10:00:00.123 netns:17 - redirected outbound 10.0.0.1:4000 -> 10.0.0.2:80"
        );
        decision.turned_to = Some("127.0.0.1:15053".parse().unwrap());
        assert!(text(&decision, Style::PLAIN).ends_with(" -> 10.0.0.2:80 turned to 127.0.0.1:15053"));
    }
}
