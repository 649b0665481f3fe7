//! A pod outside the mesh that knows how redirected frames look on its node, to the last byte.

use std::net::SocketAddr;

use weir_agent::datapath::{Maps, Pins, counters};
use weir_common::reason::Reason;
use weir_common::tag::{self, Direction};
use weir_testbeds::capture::Capture;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mac::Mac;
use weir_testbeds::mesh::{Mesh, ZTUNNEL};
use weir_testbeds::packet::Packet;
use weir_testbeds::world::Wiring;

use crate::frame;
use crate::scene::{mesh, of_pod, of_remote};

const NOBODY: u64 = 0;

/// What the client opens, and what others open to it, of one family.
fn connections(mesh: &Mesh, family: usize) -> [(Direction, Packet); 2] {
    let (client, remote) = (of_pod(mesh, "client")[family], of_remote(mesh)[family]);
    let from = |ours: SocketAddr| SocketAddr::new(ours.ip(), 4000);
    [
        (Direction::Outbound, Packet::syn(from(client), remote)),
        (Direction::Inbound, Packet::syn(from(remote), client)),
    ]
}

#[test]
fn a_frame_with_the_nodes_own_secret_does_not_reach_ztunnel_and_is_counted() {
    let mesh = mesh("node-secret", Wiring::Bridge);
    let maps = Maps::adopt(&Pins::new(mesh.agent.pin_root()));
    let secret = maps.contract().unwrap().get(&0, 0).unwrap().secret;
    assert_ne!(secret, [0; 3]);
    let plain = &mesh.pod("plain").netns;
    let interface = plain.netlink(async |link| link.interface("eth0").await);
    let interface = interface.unwrap().index;
    let ztunnel = mesh.pod(ZTUNNEL).primary.mac;
    let neighbour = of_pod(&mesh, ZTUNNEL)[0];
    let forged = || {
        let counted = counters::by_pod(&maps).unwrap();
        counted
            .get(&NOBODY)
            .map_or(0, |counts| counts.of(Reason::ForgedTag))
    };
    let arriving = Capture::start(mesh.proxy_netns(), "eth0").unwrap();
    for family in [0, 1] {
        for (direction, packet) in connections(&mesh, family) {
            let before = forged();
            let tagged = packet.ethernet(Mac(tag::of(direction, secret)), ztunnel);
            let sent = plain.run(|| frame::send(interface, neighbour, &tagged.build()));
            sent.unwrap();
            eventually(PATIENCE, || (forged() == before + 1).then_some(())).unwrap();
        }
    }
    assert_eq!(arriving.tcp_syns(), []);
    assert_eq!(mesh.proxy.connections(), []);
}
