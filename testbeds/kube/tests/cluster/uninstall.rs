//! Weir is taken away, as docs/install.md says.

use serde_json::json;

use crate::live::{Live, NODES};
use crate::load::Load;
use crate::objects;

/// Connections are made all the while. They are captured or refused at once until they are in clear; none hangs.
pub fn an_uninstalled_weir_leaves_a_working_cluster(live: &Live) {
    live.begin("an uninstalled Weir leaves a working cluster");
    for node in NODES {
        let residue = live.residue(node);
        assert!(
            ["fwmark", "tcp_fwmark_accept", ":15001"]
                .iter()
                .all(|ours| residue.contains(ours)),
            "{residue}"
        );
    }
    replace_by_agents_that_tidy_up(live);
    let load = Load::put(live, "depart");
    live.begin_removal("weir");
    while !live.is_removed("weir") {
        live.still_in_time();
    }
    live.forget_configuration();
    for node in NODES {
        is_clean(live, node);
    }
    load.ends_well(live, |_, _, _| ());
    for node in NODES {
        for other in NODES {
            speak_in_clear(live, node, other);
        }
    }
}

fn replace_by_agents_that_tidy_up(live: &Live) {
    let old = live.agents();
    live.configure("remove-on-exit: true");
    live.restart("weir");
    while live.agents() == old || !live.is_rolled_out("weir") {
        live.still_in_time();
    }
}

/// Nothing of Weir is left on the node and in its pods, and ztunnel listens in none.
fn is_clean(live: &Live, node: &str) {
    for pod in ["server", "client", "target"].map(|pod| format!("{pod}-{node}")) {
        live.says("in", &pod, &json!(null));
    }
    for left in [
        "/etc/cni/net.d/0-weir.conflist",
        "/opt/cni/bin/weir-cni",
        "/sys/fs/bpf/weir",
    ] {
        live.told(node, &["test", "!", "-e", left]);
    }
    let residue = live.residue(node);
    assert_eq!(residue, "", "{node}");
}

/// Pods that were in the mesh, and one that starts now.
fn speak_in_clear(live: &Live, node: &str, other: &str) {
    let name = format!("after.{node}");
    live.ensure(&objects::pod("in", &name, node, &objects::idle()));
    live.runs("in", &name);
    let before = NODES.map(|node| live.records(node));
    for pod in [&name, &format!("client-{node}")] {
        live.asks("in", pod, node, live.server(other));
    }
    assert_eq!(NODES.map(|node| live.records(node)), before, "it is in clear");
    live.remove("in", &name);
}
