//! Status, for people.

use std::net::IpAddr;
use std::time::Duration;

use weir_agent::api::status::{
    AgentStatus, KernelState, NodeZtunnel, Pinned, PinnedPod, PodDetail, PodSummary, ReasonCount, Status,
    Verified,
};
use weir_agent::api::time::Timestamp;

use crate::cli::asking::counted;
use crate::cli::output::{Colour, Style};
use crate::cli::table::{Cell, Table};

/// The agent, then its pods.
pub fn node(status: &Status, now: Timestamp, style: Style) -> String {
    let mut pods = Table::new([
        "POD",
        "STATE",
        "PATH",
        "REDIRECTED",
        "PASSED",
        "REFUSED",
        "FAILED",
        "VERIFIED",
        "ADDRESSES",
        "WHY",
    ]);
    for pod in &status.pods {
        pods.push([
            name(pod).into(),
            state(pod),
            pod.path.as_deref().unwrap_or_default().into(),
            pod.connections.redirected.to_string().into(),
            pod.connections.passed.to_string().into(),
            pod.connections.refused.to_string().into(),
            pod.connections.failed.to_string().into(),
            verified(pod.verified.as_ref(), now),
            addresses(&pod.addresses).into(),
            why(pod).into(),
        ]);
    }
    format!("{}\n{}", agent(&status.agent, now, style), pods.render(style))
}

fn agent(agent: &AgentStatus, now: Timestamp, style: Style) -> String {
    let ready = match agent.missing.as_slice() {
        [] => style.paint(Colour::Good, "ready"),
        missing => style.paint(Colour::Bad, &format!("waits for {}", missing.join("; "))),
    };
    let mut text = format!(
        "agent {} (process {}), started {} ago: {ready}\n",
        agent.version,
        agent.process,
        span(agent.started.age(now))
    );
    for other in &agent.other_layouts {
        let told = format!(
            "layout {} still has {} in its hands: they are taken over as they are found",
            other.layout,
            counted(other.pods)
        );
        text += &format!("{}\n", style.paint(Colour::Warning, &told));
    }
    if let Some(error) = &agent.source_error {
        text += &format!(
            "{}\n",
            style.paint(Colour::Warning, &format!("source of pods: {error}"))
        );
    }
    for problem in agent.wiring.iter().flat_map(|wiring| &wiring.problems) {
        text += &format!("{}\n", style.paint(Colour::Warning, problem));
    }
    if agent.hybrid_cgroups {
        text += "cgroups are hybrid: pods on the host's network may pass for probes\n";
    }
    if agent.ztunnels.is_empty() && agent.node_ztunnels.is_empty() {
        text += &format!("{}\n", style.paint(Colour::Bad, "no ztunnel is connected"));
    }
    for ztunnel in &agent.ztunnels {
        let newest = if ztunnel.newest { "" } else { ", on its way out" };
        let error = ztunnel
            .last_error
            .as_ref()
            .map_or_else(String::new, |error| format!("; last refusal: {error}"));
        text += &format!(
            "ztunnel (process {}) {} for {}: serves {} pods, {} to be told{newest}{error}\n",
            ztunnel.process,
            ztunnel.state,
            span(ztunnel.since.age(now)),
            ztunnel.acked,
            ztunnel.pending
        );
    }
    for ztunnel in &agent.node_ztunnels {
        text += &format!("{}\n", node_ztunnel(ztunnel, style));
    }
    text
}

fn node_ztunnel(ztunnel: &NodeZtunnel, style: Style) -> String {
    let name = &ztunnel.name;
    match (&ztunnel.complaint, ztunnel.listening, ztunnel.current) {
        (Some(complaint), ..) => style.paint(Colour::Bad, &format!("ztunnel ({name}): {complaint}")),
        (None, true, true) => format!("ztunnel ({name}) takes connections"),
        (None, true, false) => format!("ztunnel ({name}) keeps the connections that it has, on its way out"),
        (None, false, _) => style.paint(Colour::Bad, &format!("ztunnel ({name}) does not listen")),
    }
}

/// One pod.
pub fn detail(detail: &PodDetail, now: Timestamp, style: Style) -> String {
    let pod = &detail.pod;
    let mut facts = Table::new(["POD", &name(pod)]);
    facts.push(["uid".into(), pod.uid.as_str().into()]);
    facts.push(["state".into(), state(pod)]);
    facts.push(["why".into(), pod.why.as_str().into()]);
    facts.push(["since".into(), format!("{} ago", span(pod.since.age(now))).into()]);
    facts.push(["path".into(), path(pod).into()]);
    facts.push(["attempts".into(), pod.attempts.to_string().into()]);
    facts.push([
        "netns cookie".into(),
        pod.netns
            .map(|netns| netns.to_string())
            .unwrap_or_default()
            .into(),
    ]);
    facts.push(["addresses".into(), addresses(&pod.addresses).into()]);
    facts.push(["interfaces".into(), interfaces(detail).into()]);
    facts.push(["wiring".into(), wiring(detail).into()]);
    facts.push(["kernel flags".into(), kernel(detail.kernel.as_ref()).into()]);
    facts.push(["listeners".into(), listeners(detail).into()]);
    facts.push(["ztunnel".into(), ztunnel(detail)]);
    facts.push(["verified".into(), verified(pod.verified.as_ref(), now)]);
    let mut text = facts.render(style);
    let problems = pod.verified.iter().flat_map(|verified| &verified.problems);
    for problem in problems {
        text += &(style.paint(
            Colour::Bad,
            &format!("problem: {}: {}", problem.check, problem.detail),
        ) + "\n");
    }
    for gap in &pod.not_captured {
        text += &(style.paint(Colour::Bad, &format!("not captured: {gap}")) + "\n");
    }
    for warning in &pod.warnings {
        text += &(style.paint(Colour::Warning, &format!("warning: {warning}")) + "\n");
    }
    if detail.reasons.is_empty() {
        return text;
    }
    format!("{text}\n{}", reasons(&detail.reasons, style))
}

fn path(pod: &PodSummary) -> String {
    match (&pod.path, &pod.interface) {
        (Some(path), Some(interface)) => format!("{path} (first interface: {interface})"),
        (Some(path), None) => path.clone(),
        (None, _) => String::new(),
    }
}

/// What the kernel holds while no agent answers.
pub fn pinned(pinned: &Pinned, style: Style) -> String {
    let mut pods = Table::new([
        "NETNS COOKIE",
        "ADDRESSES",
        "FLAGS",
        "LOOKUP",
        "REDIRECTED",
        "PASSED",
        "REFUSED",
        "FAILED",
    ]);
    for pod in &pinned.pinned {
        pods.push(pinned_row(pod));
    }
    pods.render(style)
}

fn pinned_row(pod: &PinnedPod) -> [Cell; 8] {
    let lookup = if pod.kernel.lacks_lookup() {
        Cell::coloured("gone", Colour::Bad)
    } else if pod.kernel.lookup_attached {
        Cell::coloured("attached", Colour::Good)
    } else {
        "".into()
    };
    [
        pod.netns.to_string().into(),
        addresses(&pod.addresses).into(),
        pod.kernel.flags.join(",").into(),
        lookup,
        pod.connections.redirected.to_string().into(),
        pod.connections.passed.to_string().into(),
        pod.connections.refused.to_string().into(),
        pod.connections.failed.to_string().into(),
    ]
}

fn reasons(reasons: &[ReasonCount], style: Style) -> String {
    let mut table = Table::new(["REASON", "VERDICT", "COUNT", "MEANING"]);
    for reason in reasons {
        table.push([
            reason.reason.as_str().into(),
            reason.verdict.as_str().into(),
            reason.count.to_string().into(),
            reason.help.as_str().into(),
        ]);
    }
    table.render(style)
}

fn name(pod: &PodSummary) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

fn state(pod: &PodSummary) -> Cell {
    match pod.state.as_str() {
        "enrolled" => Cell::coloured("enrolled", Colour::Good),
        "failed" => Cell::coloured("failed", Colour::Bad),
        "pending" => Cell::coloured("pending", Colour::Warning),
        other => other.into(),
    }
}

/// For a pod that is as it should be the table has said it all.
fn why(pod: &PodSummary) -> &str {
    if pod.state == "enrolled" { "" } else { &pod.why }
}

fn verified(verified: Option<&Verified>, now: Timestamp) -> Cell {
    let Some(verified) = verified else {
        return "never".into();
    };
    let ago = span(verified.at.age(now));
    match verified.problems.len() {
        0 => Cell::coloured(format!("{ago} ago"), Colour::Good),
        1 => Cell::coloured(format!("1 problem, {ago} ago"), Colour::Bad),
        problems => Cell::coloured(format!("{problems} problems, {ago} ago"), Colour::Bad),
    }
}

fn addresses(addresses: &[IpAddr]) -> String {
    addresses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fn interfaces(detail: &PodDetail) -> String {
    let one = |interface: &weir_agent::api::status::Interface| {
        let down = if interface.up { "" } else { " (down)" };
        format!("{}: {}{down}", interface.index, interface.name)
    };
    detail.interfaces.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn wiring(detail: &PodDetail) -> String {
    let one = |wiring: &weir_agent::api::status::InterfaceWiring| {
        let far_end = wiring
            .far_end
            .as_deref()
            .map_or_else(String::new, |name| format!(" to {name}"));
        format!(
            "{}: {}{far_end}, made by {} ({})",
            wiring.interface, wiring.kind, wiring.plugin, wiring.confidence
        )
    };
    detail.wiring.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn kernel(state: Option<&KernelState>) -> String {
    state.map_or_else(String::new, |state| {
        let lookup = if state.lacks_lookup() {
            "; the look-up of listeners is not attached"
        } else {
            ""
        };
        format!("tracked,{}{lookup}", state.flags.join(","))
    })
}

fn listeners(detail: &PodDetail) -> String {
    let one = |listeners: &weir_agent::api::status::Listeners| {
        format!("{}: {}", listeners.port, listeners.registered)
    };
    detail.listeners.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn ztunnel(detail: &PodDetail) -> Cell {
    match &detail.ztunnel {
        None => "".into(),
        Some(served) if served.acked => Cell::coloured("serves the pod", Colour::Good),
        Some(served) => {
            let why = served.nack.as_deref().unwrap_or("it has not answered yet");
            Cell::coloured(format!("does not serve the pod: {why}"), Colour::Bad)
        }
    }
}

/// The largest unit that is not zero.
fn span(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
