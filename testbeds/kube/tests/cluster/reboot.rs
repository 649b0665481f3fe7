//! A node that loses its power.

use serde_json::json;

use crate::live::{Live, NODES};
use crate::objects;

/// Its pods start before its agent does, and are captured all the same, from their first connection on.
pub fn a_node_that_lost_its_power_comes_back(live: &Live) {
    live.begin("a node that lost its power comes back");
    let node = NODES[0];
    let to = live.target(NODES[1]);
    let early = "early";
    live.ensure(&objects::first_then_idle("in", early, node, to));
    live.runs("in", early);
    live.all_outbound(&live.client("in", early), to, 1);
    live.reboot(node);
    live.rolled_out("ztunnel");
    live.rolled_out("weir");
    for pod in [
        format!("server-{node}"),
        format!("client-{node}"),
        early.to_owned(),
    ] {
        live.runs_again("in", &pod);
        live.says("in", &pod, &json!("enabled"));
    }
    let server = live.server(NODES[1]);
    let client = live.client("in", &format!("client-{node}"));
    let before = live.outbound(&client, server);
    live.asks("in", &client.name, node, server);
    live.all_outbound(&client, server, before + 1);
    // What ztunnel had written down went with the power. It would have been started once more if its first connection had not been captured.
    live.all_outbound(&live.client("in", early), to, 1);
    assert_eq!(live.restarts("in", early), 1);
    live.remove("in", early);
}
