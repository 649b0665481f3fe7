//! The agent dies and comes back: the kernel goes on without it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::support::{
    self, counted, exchange, go_on, links, load, maps, open, rules_of_ours, serve, wait, wait_for_guards,
};
use weir_common::reason::Reason;
use weir_testbeds::capture::Capture;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::proxy::Member;
use weir_testbeds::world::{Family, Wiring};

const HBONE: u16 = 15008;

fn mesh(name: &str) -> Mesh {
    Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .outside("plain")
        .start()
        .unwrap()
}

#[test]
fn traffic_goes_on_while_the_agent_is_killed_and_restarted() {
    let mut mesh = mesh("killed");
    let to: Vec<_> = mesh.pod("server").addresses().iter().collect();
    let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    let client = mesh.pod("client").netns.clone();
    let mut held: Vec<_> = to.iter().map(|to| open(&client, *to)).collect();
    let on_wire = Capture::start(&client, "eth0").unwrap();
    wait_for_guards(&mesh, 2);
    let before = links(mesh.agent.pin_root());
    let outbound_before = counted(&mesh, &client, Reason::Outbound);
    let load = load(to.iter().map(|to| (client.clone(), *to)));
    go_on(&load, 20);
    for _ in 0..3 {
        mesh.agent.kill();
        go_on(&load, 40);
        mesh.agent.restart().unwrap();
        mesh.settled().unwrap();
        go_on(&load, 40);
    }
    let seen = load.finish();
    assert!(!on_wire.segments().is_empty());
    for syn in on_wire.tcp_syns() {
        assert_eq!(syn.destination.port(), HBONE, "left the pod in clear: {syn:?}");
    }
    for result in &seen {
        let seen = result.as_ref().unwrap();
        assert_eq!(seen.server.server, "server");
        assert!(seen.was_captured(), "{seen:?}");
    }
    held.iter_mut()
        .for_each(|held| held.exchange(b"still here").unwrap());
    let after = links(mesh.agent.pin_root());
    let numbers = |links: &BTreeMap<PathBuf, (u32, u32)>| -> Vec<u32> {
        links.values().map(|(link, _)| *link).collect()
    };
    assert_eq!(numbers(&before), numbers(&after), "links were made anew");
    assert!(before.keys().eq(after.keys()));
    for (path, (_, program)) in &before {
        assert_ne!(
            after[path].1,
            *program,
            "{} still runs the old program",
            path.display()
        );
    }
    let counted = counted(&mesh, &client, Reason::Outbound) - outbound_before;
    assert!(
        counted >= seen.len() as u64,
        "{counted} of {} connections were counted",
        seen.len()
    );
}

#[test]
fn pods_that_came_and_went_meanwhile_are_caught_up_with() {
    let mut mesh = mesh("meanwhile");
    let plain = mesh.pod("plain").netns.clone();
    let (server, client) = (mesh.pod("server").netns.clone(), mesh.pod("client").netns.clone());
    mesh.agent.kill();
    // One is relabelled, one comes, one goes while its namespace lives on, one goes for good.
    mesh.change("plain", weir_testbeds::mesh::PodLine::enrol).unwrap();
    mesh.change("client", weir_testbeds::mesh::PodLine::leave)
        .unwrap();
    mesh.unlist("server").unwrap();
    mesh.world.remove_pod("server").unwrap();
    drop(server);
    let members = mesh.world.pods().iter().map(|pod| Member::of(pod).plain());
    mesh.proxy.set_members(members.collect()).unwrap();
    mesh.agent.restart().unwrap();
    mesh.settled().unwrap();
    wait("pods that are gone are forgotten", || {
        let pods: Vec<u64> = maps(&mesh).pods().unwrap().keys().flatten().collect();
        pods == [support::cookie(&plain)]
    });
    let own = maps(&mesh).own_addresses().unwrap();
    assert!(
        own.keys()
            .flatten()
            .all(|key| key.netns == support::cookie(&plain))
    );
    assert_eq!(
        (rules_of_ours(&client), rules_of_ours(&plain)),
        (0, support::RULES)
    );
    assert_eq!(client.sysctl_get("net.ipv4.tcp_fwmark_accept").unwrap(), "0");
    let to = mesh.pod("client").address();
    let _server = serve(&mesh, "client", to);
    let seen = exchange(&plain, to);
    assert!(seen.was_captured(), "the new pod is not captured: {seen:?}");
    let back = mesh.pod("plain").address();
    let _server = serve(&mesh, "plain", back);
    let seen = exchange(&client, back);
    mesh.proxy
        .wait_for(support::PATIENCE, |record| record.peer == Some(seen.local))
        .unwrap();
}

/// To who watches the sum, one that falls has begun anew, and what is left of it has just happened.
#[test]
fn connections_of_pods_that_have_gone_stay_counted() {
    const SUM: &str = "weir_connections_total{verdict=\"redirected\",reason=\"outbound\"} ";
    let mut mesh = Mesh::builder("counted")
        .enrolled("client")
        .enrolled("other")
        .enrolled("server")
        .http_address("127.0.0.1:15080")
        .flag("--verify-interval=1h")
        .start()
        .unwrap();
    let to = mesh.pod("server").address();
    let _server = serve(&mesh, "server", to);
    for client in ["client", "client", "other"] {
        exchange(&mesh.pod(client).netns, to);
    }
    let sum = |mesh: &Mesh| {
        let metrics = mesh.agent.get("/metrics").unwrap();
        let mut sums = metrics.lines().filter_map(|line| line.strip_prefix(SUM));
        sums.next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(sum(&mesh), 3);
    for gone in ["client", "other"] {
        mesh.unlist(gone).unwrap();
        let netns = support::cookie(&mesh.pod(gone).netns);
        wait("the pod is gone", || {
            maps(&mesh).pods().unwrap().get(&netns, 0).is_err()
        });
        wait("its counts are kept", || sum(&mesh) == 3);
        mesh.agent.terminate().unwrap();
        mesh.agent.restart().unwrap();
        mesh.wait_state("server", "enrolled").unwrap();
        assert_eq!(sum(&mesh), 3);
    }
}
