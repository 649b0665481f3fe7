//! Pods that have no interface on the node (SR-IOV and its like), with a ztunnel on veth: what they open is made to
//! ztunnel in the first place, and what comes to them is beyond reach, which is said.

use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::traffic::Exchange;
use weir_testbeds::world::{Family, Wiring};

use crate::life::{count, try_quickly};
use crate::scene::{assert_detoured, assert_direct, exchange, of_pod, of_remote, serve};

fn builder(name: &str) -> Builder {
    Mesh::builder(name)
        .wiring(Wiring::Device)
        .family(Family::Dual)
        .enrolled("client")
        .ztunnel_outside(Wiring::PointToPoint)
}

#[test]
fn what_they_open_goes_by_ztunnel_and_what_comes_to_them_is_told_not_to() {
    let mesh = builder("node-sideless").start().unwrap();
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("client").netns);
    for to in of_remote(&mesh) {
        assert_detoured(&mesh, &exchange(&mesh.pod("client").netns, to));
    }
    for to in of_pod(&mesh, "client") {
        assert_direct(&exchange(&mesh.world.remote.netns, to));
    }
    let output = mesh.agent.run("status", &["client"]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told =
        "not captured: connections to eth0 are not captured: no interface of the node sees its packets";
    assert!(text.contains(told), "{text}");
}

#[test]
fn without_ztunnel_their_connections_stop_unless_they_are_to_go_on() {
    for open in [false, true] {
        let mut builder = builder("node-sideless-open");
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
