//! The agent, with pods on macvlan and a ztunnel in a pod beside them.

use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::proxy::{Direction, Learnt, ProxyKind, Record};
use weir_testbeds::traffic::Exchange;
use weir_testbeds::world::Wiring;

use crate::cleanup;
use crate::life::{self, Kind, count, quickly};
use crate::reach;
use crate::safety;
use crate::scene::{
    self, assert_captured, assert_detoured, assert_direct, exchange, of_pod, of_remote, serve,
};

/// The ways out.
const OUTBOUND: [&str; 2] = ["socket", "steer"];

fn mesh(name: &str, outbound: &str) -> Mesh {
    builder(name, outbound).start().unwrap()
}

pub fn builder(name: &str, outbound: &str) -> Builder {
    let builder = scene::builder(name, Wiring::MacvlanBridge);
    builder.flag("--macvlan-outbound").flag(outbound)
}

/// The connection went through ztunnel by the way out that pods take.
fn assert_left(mesh: &Mesh, outbound: &str, seen: &Exchange) -> Record {
    match outbound {
        "socket" => assert_detoured(mesh, seen),
        _ => assert_captured(mesh, Direction::Outbound, seen),
    }
}

/// The real ztunnel does not say how it came to know the destination.
fn assert_learnt(record: &Record, how: Learnt) {
    assert_eq!(record.learnt.unwrap_or(how), how);
}

#[test]
fn what_a_pod_opens_is_made_to_ztunnel_by_default_and_else_keeps_its_source() {
    for (outbound, learnt) in OUTBOUND
        .into_iter()
        .zip([Learnt::SoOriginalDst, Learnt::LocalAddress])
    {
        let mesh = mesh("macvlan-out", outbound);
        let _server = serve(&mesh.world.remote.netns);
        for to in of_remote(&mesh) {
            let seen = exchange(&mesh.pod("client").netns, to);
            assert_learnt(&assert_left(&mesh, outbound, &seen), learnt);
        }
    }
}

#[test]
fn what_comes_to_a_pod_keeps_its_source_either_way() {
    for outbound in OUTBOUND {
        let mesh = mesh("macvlan-in", outbound);
        let _server = serve(&mesh.pod("server").netns);
        for to in of_pod(&mesh, "server") {
            for client in [&mesh.world.remote.netns, &mesh.pod("plain").netns] {
                assert_captured(&mesh, Direction::Inbound, &exchange(client, to));
            }
        }
    }
}

#[test]
fn pods_that_are_not_in_the_mesh_are_left_alone() {
    let mesh = mesh("macvlan-plain", "socket");
    let _server = serve(&mesh.world.remote.netns);
    for to in of_remote(&mesh) {
        assert_direct(&exchange(&mesh.pod("plain").netns, to));
    }
}

#[test]
fn pods_of_one_node_reach_each_other_by_a_tunnel() {
    for outbound in OUTBOUND {
        let left = |mesh: &Mesh, seen: &Exchange| assert_left(mesh, outbound, seen);
        reach::reach_each_other_by_a_tunnel(builder("macvlan-hairpin", outbound), left);
    }
}

#[test]
fn pods_of_other_nodes_reach_the_tunnel_port() {
    let builder = builder("macvlan-tunnel", "socket").proxy_kind(ProxyKind::stand_in().unwrap());
    reach::reach_the_tunnel_port(&builder.start().unwrap());
}

#[test]
fn a_pod_that_forges_an_address_gets_nowhere() {
    for outbound in OUTBOUND {
        safety::forge_an_address_and_get_nowhere(&mesh("macvlan-spoof", outbound));
    }
}

/// Pods on macvlan, with either way out.
fn kinds() -> [Kind; 2] {
    [
        Kind {
            wiring: Wiring::MacvlanBridge,
            builder: |name| builder(name, "socket"),
            detoured: true,
        },
        Kind {
            wiring: Wiring::MacvlanBridge,
            builder: |name| builder(name, "steer"),
            detoured: false,
        },
    ]
}

#[test]
fn connections_open_at_enrolment_and_at_release_go_on() {
    kinds().iter().for_each(life::open_connections_go_on);
}

#[test]
fn under_load_the_agent_is_killed_and_the_next_adopts_what_is_there() {
    kinds().iter().for_each(life::the_agent_is_killed);
}

#[test]
fn under_load_ztunnel_dies_and_nothing_passes_in_clear_until_it_is_back() {
    kinds().iter().for_each(life::ztunnel_dies);
}

#[test]
fn under_load_another_ztunnel_takes_over_and_old_connections_stay() {
    kinds().iter().for_each(life::another_ztunnel_takes_over);
}

#[test]
fn pods_that_are_deleted_under_load_leave_nothing() {
    kinds().iter().for_each(life::pods_are_deleted);
}

#[test]
fn cleaning_up_leaves_nothing() {
    for outbound in OUTBOUND {
        cleanup::assert_nothing_is_left_either_way(&builder("macvlan-clean", outbound));
    }
}

/// Each connection is counted once, although the way out of the pod has two programs.
#[test]
fn open_to_failure_if_asked_for() {
    for outbound in OUTBOUND {
        let builder = builder("macvlan-open", outbound).flag("--fail-open");
        let mut mesh = builder.start().unwrap();
        let client = mesh.pod("client").netns.clone();
        let remote = mesh.world.remote.netns.clone();
        let server = serve(&remote);
        let _application = serve(&client);
        let (to, inward) = (of_remote(&mesh)[0], of_pod(&mesh, "client")[0]);
        mesh.proxy.kill();
        for (from, to) in [(&client, to), (&remote, inward)] {
            assert_direct(&eventually(PATIENCE, || quickly(from, to)).unwrap());
        }
        exchange(&client, to);
        // Two of the client's, one to it.
        assert_eq!(server.connections().len(), 2);
        assert_eq!(count(&mesh, "client", "fail_open"), 3);
        mesh.proxy.restart().unwrap();
        let captured = || quickly(&client, to).filter(Exchange::was_captured);
        eventually(PATIENCE, captured).unwrap();
    }
}
