//! What must hold in a cluster: `./x kube up`, then `./x kube test`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod first;
mod live;
mod lives;
mod load;
mod node;
mod objects;
mod reboot;
mod records;
mod rollout;
mod uninstall;

use std::net::SocketAddr;

use serde_json::json;
use weir_standin::record::{Direction, Record};

use live::{Client, Live, NODES};

/// One after the other, because they share the nodes.
#[test]
#[ignore = "needs the cluster that `./x kube up` makes"]
fn the_cluster_holds() {
    let live = Live::open();
    install(&live);
    pods_say_that_they_are_in_the_mesh(&live);
    traffic_goes_through_ztunnel(&live);
    first::a_new_pod_is_in_the_mesh_from_its_first_connection_on(&live);
    lives::a_pod_that_is_deleted_leaves_nothing(&live);
    lives::a_pod_that_starts_again_stays_in_the_mesh(&live);
    a_label_takes_a_running_pod_out_and_back_in(&live);
    rollout::an_agent_that_is_replaced_leaves_no_gap(&live);
    without_the_api_server_traffic_goes_on(&live);
    reboot::a_node_that_lost_its_power_comes_back(&live);
    uninstall::an_uninstalled_weir_leaves_a_working_cluster(&live);
}

/// The manifest as it is, the stand-in for ztunnel, and on each node a server and a client.
fn install(live: &Live) {
    live.begin("install");
    live.ensure(&objects::namespace("istio-system", "none"));
    for object in objects::manifest() {
        live.ensure(&object);
    }
    live.ensure(&objects::ztunnel());
    live.ensure(&objects::namespace("in", "ambient"));
    live.ensure(&objects::namespace("out", "none"));
    for node in NODES {
        live.ensure(&objects::pod(
            "in",
            &format!("server-{node}"),
            node,
            &objects::server(),
        ));
        live.ensure(&objects::pod(
            "in",
            &format!("client-{node}"),
            node,
            &objects::idle(),
        ));
        live.ensure(&objects::target("in", &format!("target-{node}"), node));
        live.ensure(&objects::pod(
            "out",
            &format!("client-{node}"),
            node,
            &objects::idle(),
        ));
    }
    live.rolled_out("ztunnel");
    live.rolled_out("weir");
    for node in NODES {
        for pod in ["server", "client", "target"].map(|pod| format!("{pod}-{node}")) {
            live.runs("in", &pod);
        }
        live.runs("out", &format!("client-{node}"));
    }
}

fn pods_say_that_they_are_in_the_mesh(live: &Live) {
    live.begin("pods say that they are in the mesh");
    for node in NODES {
        for pod in ["server", "client", "target"].map(|pod| format!("{pod}-{node}")) {
            live.says("in", &pod, &json!("enabled"));
        }
        live.says("out", &format!("client-{node}"), &json!(null));
    }
}

/// Same node and across, from the mesh and from outside; who asked is seen as who it is.
fn traffic_goes_through_ztunnel(live: &Live) {
    live.begin("traffic goes through ztunnel");
    for from in NODES {
        for to in NODES {
            let server = live.server(to);
            for (namespace, captured) in [("in", true), ("out", false)] {
                let client = live.client(namespace, &format!("client-{from}"));
                let (out, inbound) = (live.outbound(&client, server), live.records(to));
                live.asks(namespace, &client.name, from, server);
                live.recorded(to, inbound, |record| came_in(record, &client, server));
                live.all_outbound(&client, server, out + usize::from(captured));
            }
        }
    }
}

/// The stand-in for ztunnel is told of no peers, and makes no tunnels to them.
fn came_in(record: &Record, client: &Client, server: SocketAddr) -> bool {
    let from = record.peer.is_some_and(|peer| peer.ip() == client.address);
    record.direction == Direction::Inbound && record.original_destination == Some(server) && from
}

fn a_label_takes_a_running_pod_out_and_back_in(live: &Live) {
    live.begin("a label takes a running pod out and back in");
    let node = NODES[0];
    let client = live.client("in", &format!("client-{node}"));
    let server = live.server(NODES[1]);
    live.label("in", &client.name, &json!("none"));
    live.says("in", &client.name, &json!(null));
    let before = live.outbound(&client, server);
    live.asks("in", &client.name, node, server);
    live.label("in", &client.name, &json!(null));
    live.says("in", &client.name, &json!("enabled"));
    live.asks("in", &client.name, node, server);
    // The first was out of the mesh.
    live.all_outbound(&client, server, before + 1);
}

/// Whoever holds the API server up must not hold up traffic, nor take pods out of the mesh.
fn without_the_api_server_traffic_goes_on(live: &Live) {
    const CONNECTIONS: usize = 10;
    live.begin("without the API server traffic goes on");
    let node = NODES[0];
    let client = live.client("in", &format!("client-{node}"));
    let server = live.server(NODES[1]);
    let id = live.container("in", &client.name);
    let before = live.outbound(&client, server);
    live.told("control", &["pkill", "-STOP", "kube-apiserver"]);
    // Whatever becomes of it, the others need the server again.
    let asked: Vec<bool> = (0..CONNECTIONS)
        .map(|_| live.gets_page(node, &id, server))
        .collect();
    live.told("control", &["pkill", "-CONT", "kube-apiserver"]);
    assert_eq!(asked, [true; CONNECTIONS]);
    live.all_outbound(&client, server, before + CONNECTIONS);
}
