//! What connections are checked by: each change of it begins an era, in which they are checked anew.

use weir_agent::datapath::Pins;
use weir_agent::datapath::sys::{self, RawMap};
use weir_common::names::map;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::world::Wiring;

use crate::scene::mesh;

#[test]
fn what_connections_are_checked_by_begins_an_era_when_it_changes() {
    let mut mesh = mesh("node-eras", Wiring::PointToPoint);
    let client = mesh.pod("client").netns.clone();
    let before = era(&mesh);
    let another = "10.255.0.1/32".parse().unwrap();
    client
        .netlink(async |link| link.add_address("eth0", another).await)
        .unwrap();
    let learnt = eventually(PATIENCE, || Some(era(&mesh)).filter(|era| *era != before)).unwrap();
    mesh.relabel("client", false).unwrap();
    assert_ne!(era(&mesh), learnt);
}

fn era(mesh: &Mesh) -> Vec<u8> {
    let pin = Pins::new(mesh.agent.pin_root()).map(map::ERA);
    let eras = RawMap::new(sys::obj_get(&pin).unwrap()).unwrap();
    eras.lookup(&0_u32.to_ne_bytes()).unwrap().unwrap()
}
