//! Agents that are replaced while connections are made.

use std::net::SocketAddr;

use crate::first;
use crate::live::{Client, Live, NODES};
use crate::load::Load;

/// Pods per node that start while there is no agent.
const NEWCOMERS: usize = 10;

/// Connections are made all the while, by pods that run and by pods that start; each one succeeds and goes through
/// ztunnel. Those that are open stay so.
pub fn an_agent_that_is_replaced_leaves_no_gap(live: &Live) {
    live.begin("an agent that is replaced leaves no gap");
    let load = Load::put(live, "endure");
    let node = NODES[0];
    let client = live.client("in", &format!("client-{node}"));
    let server = live.server(NODES[1]);
    let before = live.outbound(&client, server);
    let old = live.agents();
    live.restart("weir");
    first::start(live, "newcomer", NEWCOMERS);
    let mut asked = 0;
    while live.agents() == old || !live.is_rolled_out("weir") {
        live.asks("in", &client.name, node, server);
        asked += 1;
        live.still_in_time();
    }
    assert!(asked > 0);
    live.all_outbound(&client, server, before + asked);
    first::were_captured(live, "newcomer", NEWCOMERS);
    load.ends_well(live, |client, to, said| all_were_captured(live, client, to, said));
}

/// As many as the pod has counted, and the one that stayed open.
fn all_were_captured(live: &Live, client: &Client, to: SocketAddr, said: &str) {
    let count = said
        .split("endures, ")
        .nth(1)
        .and_then(|said| said.split(' ').next());
    let made: usize = count.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    assert!(made > 0);
    live.all_outbound(client, to, made + 1);
}
