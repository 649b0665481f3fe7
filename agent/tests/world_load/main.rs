//! Captured connections under load: none is lost, misdirected or altered, whatever ports it uses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod caller;
mod limits;
mod ports;
mod rate;
mod server;

use std::net::{IpAddr, SocketAddr};

use caller::Caller;
use server::{Closer, LoadServer};
use weir_testbeds::mesh::{Builder, Mesh, PodLine};
use weir_testbeds::world::{Family, Wiring};

const PORT: u16 = 8080;

fn mesh(name: &str) -> Mesh {
    builder(name).start().unwrap()
}

/// One whose pod is still to be enrolled.
fn mesh_without(name: &str, pod: &str) -> Mesh {
    let mut mesh = mesh(name);
    mesh.change(pod, PodLine::leave).unwrap();
    mesh.wait_state(pod, "left").unwrap();
    mesh
}

fn builder(name: &str) -> Builder {
    Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
        .outside("plain")
        .without_records()
}

/// A server in a pod, at its address of the family of another.
fn serve(mesh: &Mesh, pod: &str, like: IpAddr, port: u16, closer: Closer) -> LoadServer {
    let address = SocketAddr::new(mesh.address(pod, like).unwrap(), port);
    LoadServer::start(&mesh.pod(pod).netns, u32::from(port), address, closer)
}

fn callers(server: &LoadServer, count: usize) -> Vec<Caller> {
    (0..).take(count).map(|id| server.caller(id)).collect()
}

/// The server's addresses, one of each family.
fn families(mesh: &Mesh) -> Vec<IpAddr> {
    mesh.pod("server").addresses().iter().collect()
}

/// A number from a variable, for proxies and machines that are slower.
pub fn scaled(number: usize) -> usize {
    match std::env::var("WEIR_LOAD_PERCENT") {
        Ok(percent) => number * percent.parse::<usize>().unwrap() / 100,
        Err(_) => number,
    }
}
