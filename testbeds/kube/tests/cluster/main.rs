//! What must hold in a cluster: `./x kube up`, then `./x kube test`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod live;
mod objects;

use serde_json::json;

use live::Live;

/// One after the other, because they share the nodes.
#[test]
#[ignore = "needs the cluster that `./x kube up` makes"]
fn the_cluster_holds() {
    let live = Live::open();
    install(&live);
    pods_say_that_they_are_in_the_mesh(&live);
    traffic_goes_through_ztunnel(&live);
    a_new_pod_is_in_the_mesh_from_its_first_connection_on(&live);
    a_label_takes_a_running_pod_out_and_back_in(&live);
    an_agent_that_is_replaced_leaves_no_gap(&live);
    without_the_api_server_traffic_goes_on(&live);
    a_node_that_lost_its_power_comes_back(&live);
    an_uninstalled_weir_leaves_a_working_cluster(&live);
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
    for node in live::NODES {
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
        live.ensure(&objects::pod(
            "out",
            &format!("client-{node}"),
            node,
            &objects::idle(),
        ));
    }
    live.rolled_out("ztunnel");
    live.rolled_out("weir");
    for node in live::NODES {
        for pod in [format!("server-{node}"), format!("client-{node}")] {
            live.runs("in", &pod);
        }
        live.runs("out", &format!("client-{node}"));
    }
}

fn pods_say_that_they_are_in_the_mesh(live: &Live) {
    live.begin("pods say that they are in the mesh");
    for node in live::NODES {
        for pod in [format!("server-{node}"), format!("client-{node}")] {
            live.says("in", &pod, &json!("enabled"));
        }
        live.says("out", &format!("client-{node}"), &json!(null));
    }
}

/// Same node and across, from the mesh and from outside; who asked is seen as who it is.
fn traffic_goes_through_ztunnel(live: &Live) {
    live.begin("traffic goes through ztunnel");
    for from in live::NODES {
        for to in live::NODES {
            let server = live.address("in", &format!("server-{to}"));
            for (namespace, captured) in [("in", true), ("out", false)] {
                let client = format!("client-{from}");
                let (out, inbound) = (live.records(from), live.records(to));
                live.asks(namespace, &client, from, &server);
                let went = format!("\"original_destination\":\"{server}:8080\"");
                let source = format!("\"peer\":\"{}:", live.address(namespace, &client));
                live.recorded(to, inbound, &["\"inbound\"", &went]);
                if captured {
                    live.recorded(from, out, &["\"outbound\"", &went, &source]);
                } else {
                    live.recorded(to, inbound, &["\"inbound\"", &source]);
                }
            }
        }
    }
}

/// Pods whose first act is a connection: the container runtime starts none before the CNI plugin has let it.
fn a_new_pod_is_in_the_mesh_from_its_first_connection_on(live: &Live) {
    const PODS: usize = 20;
    live.begin("a new pod is in the mesh from its first connection on");
    let server = live.address("in", &format!("server-{}", live::NODES[0]));
    let command = json!(["wget", "-q", "-O-", format!("http://{server}:8080/")]);
    let name = |node: &str, number: usize| format!("first-{node}-{number}");
    for node in live::NODES {
        for number in 0..PODS {
            let mut pod = objects::pod("in", &name(node, number), node, &command);
            pod["spec"]["restartPolicy"] = json!("Never");
            live.ensure(&pod);
        }
    }
    for node in live::NODES {
        for number in 0..PODS {
            let uid = live.succeeds("in", &name(node, number));
            live.recorded(node, 0, &["\"outbound\"", &uid]);
            live.remove("in", &name(node, number));
        }
    }
}

fn a_label_takes_a_running_pod_out_and_back_in(live: &Live) {
    live.begin("a label takes a running pod out and back in");
    let node = live::NODES[0];
    let client = format!("client-{node}");
    let server = live.address("in", &format!("server-{}", live::NODES[1]));
    live.label("in", &client, &json!("none"));
    live.says("in", &client, &json!(null));
    let before = live.records(node);
    live.asks("in", &client, node, &server);
    assert_eq!(live.records(node), before, "it is out of the mesh");
    live.label("in", &client, &json!(null));
    live.says("in", &client, &json!("enabled"));
    live.asks("in", &client, node, &server);
    live.recorded(node, before, &["\"outbound\""]);
}

/// Connections are made all the while; each one succeeds and goes through ztunnel. One that is open stays so.
fn an_agent_that_is_replaced_leaves_no_gap(live: &Live) {
    live.begin("an agent that is replaced leaves no gap");
    let node = live::NODES[0];
    let server = live.address("in", &format!("server-{}", live::NODES[1]));
    live.ensure(&objects::pod("in", "echo", live::NODES[1], &objects::echo()));
    live.runs("in", "echo");
    live.says("in", "echo", &json!("enabled"));
    let talk = objects::talk(&live.address("in", "echo"));
    live.ensure(&objects::pod("in", "talk", node, &talk));
    live.runs("in", "talk");
    live.says("in", "talk", &json!("enabled"));
    let before = live.records(node);
    let old = live.agents();
    live.restart("weir");
    let mut asked = 0;
    while live.agents() == old || !live.is_rolled_out("weir") {
        live.asks("in", &format!("client-{node}"), node, &server);
        asked += 1;
        live.still_in_time();
    }
    assert!(asked > 0);
    let seen = live.records(node) - before;
    assert!(seen >= asked, "of {asked} connections ztunnel saw {seen}");
    live.goes_on("in", "talk", node);
    live.remove("in", "talk");
    live.remove("in", "echo");
}

/// Whoever holds the API server up must not hold up traffic, nor take pods out of the mesh.
fn without_the_api_server_traffic_goes_on(live: &Live) {
    const CONNECTIONS: usize = 10;
    live.begin("without the API server traffic goes on");
    let node = live::NODES[0];
    let server = live.address("in", &format!("server-{}", live::NODES[1]));
    let id = live.container("in", &format!("client-{node}"));
    let before = live.records(node);
    live.told("control", &["pkill", "-STOP", "kube-apiserver"]);
    // Whatever becomes of it, the others need the server again.
    let asked: Vec<bool> = (0..CONNECTIONS)
        .map(|_| live.gets_page(node, &id, &server))
        .collect();
    live.told("control", &["pkill", "-CONT", "kube-apiserver"]);
    assert_eq!(asked, [true; CONNECTIONS]);
    let seen = live.records(node) - before;
    assert!(
        seen >= CONNECTIONS,
        "of {CONNECTIONS} connections ztunnel saw {seen}"
    );
}

/// As docs/install.md says, while connections are made.
fn an_uninstalled_weir_leaves_a_working_cluster(live: &Live) {
    live.begin("an uninstalled Weir leaves a working cluster");
    let node = live::NODES[0];
    let client = format!("client-{node}");
    let server = live.address("in", &format!("server-{}", live::NODES[1]));
    let old = live.agents();
    live.configure("remove-on-exit: true");
    live.restart("weir");
    while live.agents() == old || !live.is_rolled_out("weir") {
        live.asks("in", &client, node, &server);
        live.still_in_time();
    }
    // From here to the end of the removal a peer may have left that ztunnel still tunnels to: that is refused.
    live.begin_removal("weir");
    let id = live.container("in", &client);
    while !live.is_removed("weir") {
        live.gets_page(node, &id, &server);
        live.still_in_time();
    }
    live.forget_configuration();
    for _ in 0..10 {
        live.asks("in", &client, node, &server);
    }
    for node in live::NODES {
        for pod in [format!("server-{node}"), format!("client-{node}")] {
            live.says("in", &pod, &json!(null));
        }
        for left in [
            "/etc/cni/net.d/0-weir.conflist",
            "/opt/cni/bin/weir-cni",
            "/sys/fs/bpf/weir",
        ] {
            live.told(node, &["test", "!", "-e", left]);
        }
        let name = format!("after-{node}");
        live.ensure(&objects::pod("in", &name, node, &objects::idle()));
        live.runs("in", &name);
        let before = live.records(node);
        live.asks("in", &name, node, &server);
        assert_eq!(live.records(node), before, "it is in clear");
        live.remove("in", &name);
    }
}

fn a_node_that_lost_its_power_comes_back(live: &Live) {
    live.begin("a node that lost its power comes back");
    let node = live::NODES[0];
    live.reboot(node);
    live.rolled_out("ztunnel");
    live.rolled_out("weir");
    for pod in [format!("server-{node}"), format!("client-{node}")] {
        live.runs_again("in", &pod);
        live.says("in", &pod, &json!("enabled"));
    }
    let server = live.address("in", &format!("server-{}", live::NODES[1]));
    let before = live.records(node);
    live.asks("in", &format!("client-{node}"), node, &server);
    live.recorded(node, before, &["\"outbound\""]);
}
