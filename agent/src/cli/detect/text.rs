//! What was detected, for people.

use weir_netdetect::choose::{Contract, InterfacePlan, Leg, Path};
use weir_netdetect::facts::{Interface, NodeFacts, Owner};
use weir_netdetect::report::{Connected, Detected, Report};

use super::ztunnel::Source;
use crate::cli::output::{Colour, Style};
use crate::cli::table::{Cell, Table};

/// The node, then its pods.
pub fn report(report: &Report<'_>, (in_detail, source): (bool, &Source), style: Style) -> String {
    let mut text = node(report, style);
    if report.contract == Contract::Node {
        text += &ztunnel(report, source, style);
    }
    let mut table = Table::new([
        "POD",
        "INTERFACE",
        "KIND",
        "FAR END",
        "PLUGIN",
        "OUTBOUND",
        "INBOUND",
        "NETNS",
    ]);
    for pod in &report.pods {
        rows(pod, &mut table);
    }
    text += &format!("\n{}", table.render(style));
    if in_detail {
        for pod in &report.pods {
            text += &format!("\n{}", detail(pod, report.node, style));
        }
    }
    text
}

fn node(report: &Report<'_>, style: Style) -> String {
    let configuration = report.configuration;
    let called = configuration.picked().map_or_else(
        || format!("none in {}", configuration.directory.display()),
        |network| {
            let kinds: Vec<_> = network.all_plugins().map(|plugin| plugin.kind.as_str()).collect();
            format!("{} ({})", kinds.join(", "), network.path.display())
        },
    );
    let nested = if report.node.is_nested() {
        ", itself a container"
    } else {
        ""
    };
    let mut text = format!(
        "node: Linux {}{nested}; CNI configuration: {called}; contract: {}\n",
        report.kernel.version, report.contract
    );
    let warn = |text: String| style.paint(Colour::Warning, &text) + "\n";
    for problem in &configuration.problems {
        text += &warn(problem.to_string());
    }
    for left in &report.node.leftovers {
        text += &warn(format!("istio-cni has left {left}: {}", left.remedy()));
    }
    for (rule, clash) in report
        .node
        .rules
        .iter()
        .filter_map(|rule| Some((rule, rule.clash()?)))
    {
        text += &warn(format!(
            "routing rule {} to table {} of the node uses our marks or preferences ({clash:?})",
            rule.preference, rule.table
        ));
    }
    for unread in &report.node.unread {
        text += &warn(format!("not looked at: {unread}"));
    }
    text
}

/// Where the ztunnel is that plans are for.
fn ztunnel(report: &Report<'_>, source: &Source, style: Style) -> String {
    let Some(ztunnel) = report.ztunnel else {
        let text = format!("ztunnel: {source}. Paths are those to one that is where it is of use");
        return style.paint(Colour::Warning, &text) + "\n";
    };
    let peer = ztunnel
        .has_host_peer
        .then(|| "by an interface of the node".to_owned());
    let parents = ztunnel.macvlan_parents.iter().map(|parent| {
        let name = report.node.interface(*parent);
        let name = name.map_or_else(|| parent.to_string(), |parent| parent.name.clone());
        format!("by a macvlan of {name}")
    });
    let ways: Vec<_> = peer.into_iter().chain(parents).collect();
    let ways = if ways.is_empty() {
        "in no way that Weir knows".to_owned()
    } else {
        ways.join(" and ")
    };
    format!("ztunnel: {source}; connected {ways}\n")
}

fn rows(pod: &Detected, table: &mut Table<8>) {
    let name = pod.pod.as_deref().unwrap_or_default();
    let path = pod.path.display().to_string();
    if pod.plan.interfaces.is_empty() {
        let leg = |leg: &Leg| path_cell(leg.path);
        let (outbound, inbound) = (leg(&pod.plan.outbound), leg(&pod.plan.inbound));
        table.push([
            name.into(),
            "".into(),
            "".into(),
            "".into(),
            "".into(),
            outbound,
            inbound,
            path.into(),
        ]);
        return;
    }
    for plan in &pod.plan.interfaces {
        table.push([
            name.into(),
            plan.name.as_str().into(),
            plan.kind.to_string().into(),
            far_end(pod, plan).into(),
            plugin(pod, plan).into(),
            path_cell(plan.outbound.path),
            path_cell(plan.inbound.path),
            path.as_str().into(),
        ]);
    }
}

fn path_cell(path: Path) -> Cell {
    let colour = match path {
        Path::Socket | Path::Tc | Path::Steer => Colour::Good,
        Path::NotApplicable => return path.name().into(),
        Path::Unknown => Colour::Warning,
        Path::NotCaptured => Colour::Bad,
    };
    Cell::coloured(path.name(), colour)
}

fn far_end(pod: &Detected, plan: &InterfacePlan) -> String {
    let end = pod
        .facts
        .interface(plan.index)
        .and_then(|interface| interface.far_end.as_ref());
    end.map_or_else(String::new, |end| match &end.name {
        Some(name) => format!("{name} ({})", end.index),
        None => format!("{} in {}", end.index, end.place),
    })
}

fn plugin(pod: &Detected, plan: &InterfacePlan) -> String {
    let connected = pod
        .plugins
        .iter()
        .find(|connected| connected.interface == plan.name);
    connected.map_or_else(String::new, |connected| {
        format!("{} ({})", connected.identity.cni, connected.identity.confidence)
    })
}

fn detail(pod: &Detected, node: &NodeFacts, style: Style) -> String {
    let mut text = String::new();
    for (direction, leg) in [("outbound", &pod.plan.outbound), ("inbound", &pod.plan.inbound)] {
        text += &leg_text(direction, leg, style);
    }
    for plan in pod
        .plan
        .interfaces
        .iter()
        .filter(|plan| Some(plan.index) != pod.plan.primary)
    {
        text += &leg_text(&format!("{} outbound", plan.name), &plan.outbound, style);
        text += &leg_text(&format!("{} inbound", plan.name), &plan.inbound, style);
    }
    for caution in &pod.plan.cautions {
        text += &(style.paint(Colour::Warning, &format!("caution: {caution}")) + "\n");
    }
    for connected in &pod.plugins {
        text += &evidence(connected);
    }
    for interface in &pod.facts.interfaces {
        text += &programs(interface, node);
    }
    text
}

fn leg_text(direction: &str, leg: &Leg, style: Style) -> String {
    let mut text = format!("{direction}: {}: {}\n", leg.path, leg.why);
    if let Some(remedy) = &leg.remedy {
        let (colour, label) = if leg.path.captures() {
            (Colour::Good, "it takes")
        } else {
            (Colour::Warning, "what would make it work")
        };
        text += &(style.paint(colour, &format!("  {label}: {remedy}")) + "\n");
    }
    text
}

fn evidence(connected: &Connected) -> String {
    let clues: Vec<_> = connected.identity.clues.iter().map(ToString::to_string).collect();
    let clues = if clues.is_empty() {
        "nothing".to_owned()
    } else {
        clues.join(", ")
    };
    format!(
        "{}: {} ({}), because of {clues}\n",
        connected.interface, connected.identity.cni, connected.identity.confidence
    )
}

fn programs(interface: &Interface, node: &NodeFacts) -> String {
    let Some(peer) = interface.host_peer().or(interface.host_parent()) else {
        return String::new();
    };
    let name = node.interface(peer).map_or("?", |peer| peer.name.as_str());
    let others = node
        .programs_at(peer)
        .filter(|attached| attached.owner != Owner::Weir);
    others
        .map(|attached| {
            format!(
                "{name}: {} {} {}: {} (program {}, {:?})\n",
                attached.direction,
                attached.hook,
                attached.order,
                attached.name,
                attached.id.map_or_else(|| "-".to_owned(), |id| id.to_string()),
                attached.owner
            )
        })
        .collect()
}
