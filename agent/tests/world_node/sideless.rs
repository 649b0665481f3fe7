//! Pods that have no interface on the node (SR-IOV and its like), with a ztunnel on veth: what they open is made to
//! ztunnel in the first place, and what comes to them is beyond reach, which is said.

use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::drivers::unless_missing;
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::netlink::Netlink;
use weir_testbeds::route::Route;
use weir_testbeds::traffic::Exchange;
use weir_testbeds::world::{Family, Wiring, World};

use crate::life::{count, try_quickly};
use crate::scene::{assert_detoured, assert_direct, exchange, of_pod, of_remote, serve};

// Which of them a kernel has the drivers for differs; `./x test vm` tries all.
on_wiring!(device, Device, both_ways_are_as_they_are_told);
on_wiring!(macvlan_private, MacvlanPrivate, both_ways_are_as_they_are_told);
on_wiring!(macvlan_vepa, MacvlanVepa, both_ways_are_as_they_are_told);
on_wiring!(macvlan_passthru, MacvlanPassthru, both_ways_are_as_they_are_told);
on_wiring!(ipvlan_l2, IpvlanL2, both_ways_are_as_they_are_told);
on_wiring!(ipvlan_l3, IpvlanL3, both_ways_are_as_they_are_told);
on_wiring!(ipvlan_l3s, IpvlanL3s, both_ways_are_as_they_are_told);
on_wiring!(vlan, Vlan, both_ways_are_as_they_are_told);

fn builder(name: &str, wiring: Wiring) -> Builder {
    Mesh::builder(name)
        .wiring(wiring)
        .family(Family::Dual)
        .enrolled("client")
        .ztunnel_outside(Wiring::PointToPoint)
}

fn both_ways_are_as_they_are_told(wiring: Wiring) {
    let builder = builder("node-sideless", wiring).http_address("127.0.0.1:15014");
    let Some(world) = unless_missing(wiring, builder.world()).unwrap() else {
        return;
    };
    if !wiring.reachable_from_node() {
        reach_by_the_router(&world);
    }
    let mesh = builder.start_in(world).unwrap();
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("client").netns);
    for to in of_remote(&mesh) {
        assert_detoured(&mesh, &exchange(&mesh.pod("client").netns, to));
    }
    for to in of_pod(&mesh, "client") {
        assert_direct(&exchange(&mesh.world.remote.netns, to));
    }
    assert_is_told(&mesh, wiring);
}

/// Nothing gets from the node's interface to its children, so what ztunnel answers has to come back from the LAN.
fn reach_by_the_router(world: &World) {
    for address in world.pod("client").addresses().iter() {
        let router = world.remote.address_like(address).unwrap();
        let route = Route::to(address).via(router);
        let add = async |netlink: Netlink| netlink.add_route(&route).await;
        world.node.netns.netlink(add).unwrap();
    }
}

/// To whoever asks for the pod, and to whoever collects figures.
fn assert_is_told(mesh: &Mesh, wiring: Wiring) {
    let output = mesh.agent.run("status", &["client"]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told =
        "not captured: connections to eth0 are not captured: no interface of the node sees its packets";
    assert!(text.contains(told), "{text}");
    let takes_route =
        text.contains("takes a route on the node to the pod's addresses by a router of the LAN");
    assert_eq!(takes_route, !wiring.reachable_from_node(), "{text}");
    assert!(
        !text.contains("is not attached"),
        "nothing is, in such a pod: {text}"
    );
    let metrics = mesh.agent.get("/metrics").unwrap();
    assert!(metrics.contains("\nweir_pods_not_captured 1\n"), "{metrics}");
}

#[test]
fn without_ztunnel_their_connections_stop_unless_they_are_to_go_on() {
    for open in [false, true] {
        let mut builder = builder("node-sideless-open", Wiring::Device);
        if open {
            builder = builder.flag("--fail-open");
        }
        let mut mesh = builder.start().unwrap();
        let server = serve(&mesh.world.remote.netns);
        let to = of_remote(&mesh);
        mesh.proxy.kill();
        if open {
            for &to in &to {
                assert_direct(&eventually(PATIENCE, || try_quickly(&mesh, to)).unwrap());
            }
            assert_eq!(
                count(&mesh, "client", "fail_open"),
                server.connections().len() as u64
            );
        } else {
            assert_eq!(to.iter().find_map(|to| try_quickly(&mesh, *to)), None);
            assert!(server.connections().is_empty());
        }
        mesh.proxy.restart().unwrap();
        let captured = || try_quickly(&mesh, to[0]).filter(Exchange::was_captured);
        assert_detoured(&mesh, &eventually(PATIENCE, captured).unwrap());
    }
}
