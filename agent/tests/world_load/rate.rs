//! Short connections in quick succession: ports come round while their last connection still rests in TIME_WAIT.

use std::time::Instant;

use aya::maps::{HashMap, Map, MapData};
use weir_agent::datapath::Pins;
use weir_common::address::OwnAddress;
use weir_common::names::map::PORT_CURSORS;
use weir_testbeds::mesh::Mesh;

use crate::caller::call_all;
use crate::server::Closer;
use crate::{PORT, callers, families, mesh, scaled, serve};

/// Makes the search for ports begin anew: as if all ports had been used since.
fn turn_back(mesh: &Mesh) {
    let pin = Pins::new(mesh.agent.pin_root()).map(PORT_CURSORS);
    let map = Map::LruHashMap(MapData::from_pin(pin).unwrap());
    let mut cursors: HashMap<_, OwnAddress, u32> = map.try_into().unwrap();
    let keys: Vec<_> = cursors.keys().map(Result::unwrap).collect();
    assert!(!keys.is_empty(), "no port was chosen");
    for key in keys {
        cursors.remove(&key).unwrap();
    }
}

fn storm(mesh: &Mesh, from: &str, closer: Closer, connections: usize) {
    for to in families(mesh) {
        let server = serve(mesh, "server", to, PORT, closer);
        for _ in 0..3 {
            let (start, callers) = (Instant::now(), callers(&server, scaled(connections)));
            let seen = mesh
                .pod(from)
                .netns
                .run_async(async || call_all(callers, 32, closer).await);
            let rate = seen.len() as f64 / start.elapsed().as_secs_f64();
            eprintln!("{from} to {to}, {closer:?} closes: {rate:.0} connections/s");
            turn_back(mesh);
        }
    }
}

#[test]
fn the_client_closes_first() {
    storm(&mesh("load-rate-client"), "plain", Closer::Client, 700);
}

#[test]
fn the_server_closes_first() {
    storm(&mesh("load-rate-server"), "plain", Closer::Server, 700);
}

#[test]
fn from_pod_to_pod() {
    let mesh = mesh("load-rate-pods");
    storm(&mesh, "client", Closer::Client, 200);
    storm(&mesh, "client", Closer::Server, 200);
}
