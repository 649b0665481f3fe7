//! Pods whose first act is a connection.

use std::collections::BTreeSet;

use crate::live::{Live, NODES};
use crate::objects;

/// Two hundred on both nodes together.
const ROUNDS: usize = 10;
/// Per node; more at once start no sooner.
const AT_ONCE: usize = 10;

/// The container runtime starts none before the CNI plugin has let it.
pub fn a_new_pod_is_in_the_mesh_from_its_first_connection_on(live: &Live) {
    live.begin("a new pod is in the mesh from its first connection on");
    let before = NODES.map(|node| live.captured(node));
    for _ in 0..ROUNDS {
        start(live, "first", AT_ONCE);
        were_captured(live, "first", AT_ONCE);
    }
    for (node, before) in NODES.into_iter().zip(before) {
        live.captured_are(node, &before);
    }
}

/// Pods on each node that connect to one server, and end.
pub fn start(live: &Live, kind: &str, count: usize) {
    let to = format!("--to={}", live.target(NODES[0]));
    for number in 0..count {
        for node in NODES {
            let name = format!("{kind}.{node}.{number}");
            live.ensure(&objects::conformance("in", &name, node, &["first", &to]));
        }
    }
}

/// Each one says so, and ztunnel does.
pub fn were_captured(live: &Live, kind: &str, count: usize) {
    let label = format!("app={kind}");
    let pods: BTreeSet<String> = live.succeed("in", &label).into_iter().collect();
    assert_eq!(pods.len(), count * NODES.len());
    let to = live.target(NODES[0]);
    live.all_are_clients_of(&pods, to);
    live.remove_labelled("in", &label);
}
