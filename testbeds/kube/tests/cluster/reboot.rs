//! A node that loses its power.

use serde_json::json;

use crate::live::{Live, NODES};

pub fn a_node_that_lost_its_power_comes_back(live: &Live) {
    live.begin("a node that lost its power comes back");
    let node = NODES[0];
    live.reboot(node);
    live.rolled_out("ztunnel");
    live.rolled_out("weir");
    for pod in ["server", "client", "target"].map(|pod| format!("{pod}-{node}")) {
        live.runs_again("in", &pod);
        live.says("in", &pod, &json!("enabled"));
    }
    let server = live.server(NODES[1]);
    let client = live.client("in", &format!("client-{node}"));
    let before = live.outbound(&client, server);
    live.asks("in", &client.name, node, server);
    live.all_outbound(&client, server, before + 1);
}
