//! What others on the LAN may try, and what happens when ztunnel's interface is not there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weir_common::reason::Reason;
use weir_testbeds::actor::Error;
use weir_testbeds::capture::Capture;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mac::Mac;
use weir_testbeds::packet::Packet;
use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec, Step};

use crate::scene::{SECRET, SERVER, Scene};

/// Nobody's.
const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 0x66]);
const NOBODY: u64 = 0;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A host on the LAN that knows all addresses, but not this node's secret.
#[test]
fn a_forged_tag_from_the_lan_is_nobodys() {
    let scene = Scene::steered("forged-tag");
    let ztunnel = scene.ztunnel.interface.mac.unwrap();
    let pods = scene.client.addresses;
    for (number, (pod, server)) in pods.into_iter().zip(SERVER.map(address)).enumerate() {
        let other = [SECRET[0], SECRET[1], SECRET[2] ^ 1];
        let (out, inward) = (
            Packet::syn(SocketAddr::new(pod, 4000), SocketAddr::new(server, 80)),
            Packet::syn(SocketAddr::new(server, 4000), SocketAddr::new(pod, 80)),
        );
        for (packet, direction) in [(out, 1), (inward, 2)] {
            let tag = Mac([2, 10, direction, other[0], other[1], other[2]]);
            scene.send_from_lan(&packet.ethernet(tag, ztunnel).build());
        }
        scene.wait_for(NOBODY, Reason::ForgedTag, 2 * (number as u64 + 1));
    }
    assert_eq!(scene.proxy.connections(), []);
}

/// ztunnel's Ethernet address as source would let a frame past a filter that trusts it.
#[test]
fn ztunnels_ethernet_address_from_the_lan_gets_nobody_past_capture() {
    let scene = Scene::steered("forged-mac");
    let (ztunnel, pod) = (
        scene.ztunnel.interface.mac.unwrap(),
        scene.client.interface.mac.unwrap(),
    );
    for (pod_address, server) in scene.client.addresses.into_iter().zip(SERVER.map(address)) {
        let to = SocketAddr::new(pod_address, 9000);
        let server = SocketAddr::new(server, 4001);
        let application = Server::start(&scene.client.netns, &ServerSpec::new("pod", to)).unwrap();
        let before = scene.count(Reason::Inbound);
        scene.send_from_lan(&Packet::syn(server, to).ethernet(ztunnel, pod).build());
        scene.wait_for(scene.client.cookie, Reason::Inbound, before + 1);
        assert_eq!(application.connections(), []);
    }
}

/// Answers that claim the pod's address for the stranger reach ztunnel; what ztunnel sends finds the pod all the same.
#[test]
fn forged_neighbours_lead_nothing_astray() {
    let mut scene = Scene::steered("forged-arp");
    for pod in [&scene.ztunnel, &scene.client] {
        for address in scene.client.addresses.into_iter().chain(scene.ztunnel.addresses) {
            if !pod.addresses.contains(&address) {
                let netlink = async |link: weir_testbeds::netlink::Netlink| {
                    link.add_neighbour("eth0", address, STRANGER).await
                };
                pod.netns.netlink(netlink).unwrap();
            }
        }
    }
    let lan = Capture::start(&scene.lan, "eth0").unwrap();
    for (to, pod) in scene.servers().into_iter().zip(scene.client.addresses) {
        scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        let at = SocketAddr::new(pod, 9000);
        let _application = Server::start(&scene.client.netns, &ServerSpec::new("pod", at)).unwrap();
        Client::exchange(&scene.lan, &ClientSpec::to(at)).unwrap();
    }
    assert!(
        lan.frames()
            .iter()
            .all(|frame| frame.destination != Some(STRANGER))
    );
}

/// The connections that are turned to ztunnel go by its address; a forged answer must not get them.
#[test]
fn a_forged_neighbour_does_not_get_what_was_turned_to_ztunnel() {
    let mut scene = Scene::both("forged-turned");
    for address in scene.ztunnel.addresses {
        let netlink =
            async |link: weir_testbeds::netlink::Netlink| link.add_neighbour("eth0", address, STRANGER).await;
        scene.client.netns.netlink(netlink).unwrap();
    }
    let lan = Capture::start(&scene.lan, "eth0").unwrap();
    for to in scene.servers() {
        scene.actor.exchange(&ClientSpec::to(to)).unwrap();
    }
    assert!(
        lan.frames()
            .iter()
            .all(|frame| frame.destination != Some(STRANGER))
    );
}

/// Without ztunnel's interface the switch does not know its address any more, and would send frames to the LAN.
#[test]
fn without_ztunnels_interface_nothing_reaches_the_lan() {
    for mut scene in [Scene::steered("down"), Scene::both("down-both")] {
        for to in scene.servers() {
            scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        }
        scene
            .ztunnel
            .netns
            .netlink(async |link| link.down("eth0").await)
            .unwrap();
        let lan = Capture::start(&scene.lan, "eth0").unwrap();
        for to in scene.servers() {
            let spec = ClientSpec::to(to).deadline(Duration::from_millis(300));
            let Err(Error::Failed(failure)) = scene.actor.exchange(&spec) else {
                panic!("it reached the server");
            };
            assert_eq!(failure.step, Step::Connect);
        }
        scene.wait_for(scene.client.cookie, Reason::Fenced, 2);
        let seen = lan.segments();
        assert!(seen.is_empty(), "{seen:?}");
    }
}

/// A connection from before the pod was captured, of which nothing was noted, is the pod's own still.
#[test]
fn connections_that_were_noted_before_capture_go_on() {
    let mut scene = Scene::bare("steer-open");
    let held: Vec<_> = scene
        .servers()
        .map(|to| scene.actor.open(&ClientSpec::to(to)).unwrap())
        .into();
    scene.start_steering_with(&held);
    for connection in &held {
        scene.actor.echo(connection, "still there").unwrap();
    }
    for to in scene.servers() {
        let seen = scene.actor.exchange(&ClientSpec::to(to)).unwrap();
        assert_eq!(seen.server.peer.ip(), seen.local.ip());
    }
    assert_eq!(scene.count(Reason::Outbound), 2, "only the new ones");
}

#[test]
fn a_ztunnel_that_comes_again_serves_again() {
    let mut scene = Scene::steered("steer-again");
    scene.proxy.kill();
    for to in scene.servers() {
        let spec = ClientSpec::to(to).deadline(Duration::from_millis(300));
        scene.actor.exchange(&spec).unwrap_err();
    }
    assert_eq!(scene.server.connections(), []);
    scene.proxy.restart().unwrap();
    scene.proxy.wait_ready(PATIENCE).unwrap();
    for to in scene.servers() {
        let reached = eventually(PATIENCE, || scene.actor.exchange(&ClientSpec::to(to)).ok());
        assert_eq!(reached.unwrap().peer, to);
    }
}
