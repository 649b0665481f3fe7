//! The agent's account of itself and its pods, from the registry and the kernel.

mod detail;
mod find;
pub mod pinned;
mod summary;

use crate::api::status::{AgentStatus, NodeZtunnel, OtherLayout, Status, ZtunnelStatus};
use crate::api::{VERSION, time::Timestamp};
use crate::datapath::{Datapath, DatapathError, counters};
use crate::run::view::View;
use crate::zds::{ConnectionState, ConnectionStatus};

pub use detail::of_pod;
pub use find::{FindPodError, find};
pub use summary::{problem, reasons, summary, verdicts, verified, why};

/// The agent and all its pods.
///
/// # Errors
/// [`DatapathError`] if the counters cannot be read.
pub fn of_node(view: &View) -> Result<Status, DatapathError> {
    let counts = counters::by_pod(view.datapath.maps())?;
    let mut pods = view.registry.pods();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Status {
        api_version: VERSION,
        agent: agent(view)?,
        pods: pods
            .iter()
            .map(|pod| summary(pod, pod.netns.and_then(|netns| counts.get(&netns))))
            .collect(),
    })
}

fn agent(view: &View) -> Result<AgentStatus, DatapathError> {
    let connections = view.zds.status().connections;
    Ok(AgentStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        layout: view.datapath.pins().layout(),
        other_layouts: other_layouts(&view.datapath)?,
        process: std::process::id(),
        started: view.started.into(),
        missing: view.missing(),
        pin_root: view.config.pin_root.clone(),
        hybrid_cgroups: view.node.hierarchy.hybrid,
        source_error: view.source_error(),
        ztunnels: connections.iter().map(ztunnel).collect(),
        node_ztunnels: node_ztunnels(view, connections.is_empty()),
        macvlan_outbound: view.config.macvlan_outbound.into(),
        wiring: view.wiring.node(),
    })
}

fn other_layouts(datapath: &Datapath) -> Result<Vec<OtherLayout>, DatapathError> {
    let others = datapath.other_layouts()?.into_iter();
    Ok(others
        .map(|(layout, pods)| OtherLayout { layout, pods })
        .collect())
}

/// Where ztunnel is connected, its pod has no sockets of its own, and nobody misses them.
fn node_ztunnels(view: &View, alone: bool) -> Vec<NodeZtunnel> {
    let kept = view.kept.all().into_iter();
    kept.filter(|ztunnel| alone || ztunnel.listening)
        .map(|ztunnel| NodeZtunnel {
            name: ztunnel.name,
            listening: ztunnel.listening,
            current: ztunnel.current,
            connected: ztunnel.connected,
            complaint: ztunnel.complaint,
        })
        .collect()
}

fn ztunnel(connection: &ConnectionStatus) -> ZtunnelStatus {
    let state = match connection.state {
        ConnectionState::Handshake => "handshake",
        ConnectionState::Snapshot => "snapshot",
        ConnectionState::Live => "live",
    };
    ZtunnelStatus {
        process: connection.peer.pid,
        since: Timestamp::from(connection.since),
        state: state.to_owned(),
        newest: connection.newest,
        acked: connection.acked,
        pending: connection.pending,
        last_error: connection.last_error.clone(),
    }
}
