//! Short connections in quick succession: ports come round while their last connection still rests in TIME_WAIT.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Instant;

use aya::maps::{Array, Map, MapData};
use weir_agent::datapath::Pins;
use weir_common::names::map::CURSORS;
use weir_testbeds::mesh::Mesh;

use crate::caller::call_all;
use crate::server::Closer;
use crate::{PORT, builder, callers, families, mesh, scaled, serve};

/// Makes the search for ports go on from here: as if as many had been used.
fn turn_to(mesh: &Mesh, turn: u32) {
    let map = Map::Array(MapData::from_pin(Pins::new(mesh.agent.pin_root()).map(CURSORS)).unwrap());
    let mut cursors: Array<_, u32> = map.try_into().unwrap();
    let used: Vec<_> = (0..cursors.len())
        .filter(|at| cursors.get(at, 0).unwrap() != 0)
        .collect();
    assert!(!used.is_empty(), "no port was chosen");
    for at in used {
        cursors.set(at, turn, 0).unwrap();
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
            turn_to(mesh, 0);
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

/// Without timestamps the kernel takes no port again that rests: it has to be the last that is chosen again.
#[test]
fn ports_rest_in_a_pod_without_timestamps() {
    let builder = builder("load-rate-bare");
    let world = builder.world().unwrap();
    let server = &world.pod("server").netns;
    server.sysctl_set("net.ipv4.tcp_timestamps", "0").unwrap();
    let mesh = builder.start_in(world).unwrap();
    let to = mesh.pod("server").address();
    let server = serve(&mesh, "server", to, PORT, Closer::Client);
    let plain = &mesh.pod("plain").netns;
    let call = |count| plain.run_async(async || call_all(callers(&server, count), 32, Closer::Client).await);
    let mut seen = call(100);
    // The last ports above those of clients, and on.
    turn_to(&mesh, 65536 - 61000 - 100);
    seen.extend(call(200));
    let used: HashSet<_> = seen.iter().map(SocketAddr::port).collect();
    assert_eq!(used.len(), seen.len(), "a port came round");
    let status = mesh.agent.run("status", &["server"]).unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("net.ipv4.tcp_timestamps=0"), "{status}");
}

#[test]
fn from_pod_to_pod() {
    let mesh = mesh("load-rate-pods");
    storm(&mesh, "client", Closer::Client, 200);
    storm(&mesh, "client", Closer::Server, 200);
}
