//! When the guard stands that looks for what leaves a pod past ztunnel.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::packet::Packet;
use weir_testbeds::world::Pod;

use super::support::{PORT, Scene, awaited, sandbox};

/// A pod that has just started.
fn started(scene: &mut Scene, name: &str) -> Pod {
    scene.mesh.add([awaited(name)]).unwrap();
    let pod = scene.pod(name);
    scene.runtime.add(&sandbox(&pod)).unwrap();
    pod
}

/// A connection's first packet from a raw socket, which no hook of connections sees.
fn send_past_ztunnel(scene: &Scene, pod: &Pod) {
    let to = SocketAddr::new(scene.server.address().ip(), PORT);
    let packet = Packet::syn(SocketAddr::new(pod.address(), 4001), to).without_ethernet();
    pod.netns.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
        // The guard may refuse it.
        socket.send_to(&packet.build(), &to.into()).ok();
    });
}

fn is_told_of(scene: &Scene, pod: &Pod) -> bool {
    let status = scene.mesh.agent.run("status", &[&pod.name]).unwrap();
    let text = String::from_utf8(status.stdout).unwrap();
    text.lines().any(|line| line.starts_with("leaked "))
}

#[test]
fn a_guard_that_drops_stands_before_the_pod_starts() {
    let mut scene = Scene::with_flags("cni-guard-drops", &["--guard", "enforce"]);
    let pod = started(&mut scene, "first");
    send_past_ztunnel(&scene, &pod);
    let told = eventually(PATIENCE, || is_told_of(&scene, &pod).then_some(()));
    told.expect("its very first packet");
}

#[test]
fn a_guard_that_counts_comes_when_the_pod_has_started() {
    let mut scene = Scene::new("cni-guard-counts");
    let pod = started(&mut scene, "first");
    let told = eventually(PATIENCE, || {
        send_past_ztunnel(&scene, &pod);
        is_told_of(&scene, &pod).then_some(())
    });
    told.unwrap();
}
