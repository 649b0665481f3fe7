//! What must hold, as lines.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

use crate::check::{Check, Expectation};
use crate::cli::Run;
use crate::report::Report;

/// All lines. Names that are not found go to the report at once: finding them is a check, too.
pub fn checks(args: &Run, own_port: u16, report: &mut Report) -> Vec<Check> {
    let mut checks = Vec::new();
    for (hosts, in_mesh) in [(&args.mesh, true), (&args.outside, false)] {
        for host in hosts {
            for to in resolve(host, args.port, report) {
                checks.extend(of_pod(args, host, to, in_mesh));
            }
        }
    }
    for service in &args.services {
        let addresses = resolve(service, args.port, report).into_iter();
        checks
            .extend(addresses.map(|to| Check::new(&format!("service {service}"), to, Expectation::Reached)));
    }
    checks.extend(of_itself(&checks, own_port));
    checks
}

/// The connections to one pod.
fn of_pod(args: &Run, host: &str, to: SocketAddr, in_mesh: bool) -> Vec<Check> {
    let at = |port| SocketAddr::new(to.ip(), port);
    let expectation = match args.in_mesh || in_mesh {
        true => Expectation::Captured,
        false => Expectation::Uncaptured,
    };
    let mut checks = vec![
        Check::new(&format!("tcp {host}"), to, expectation),
        Check::new(&format!("udp {host}"), to, Expectation::Datagram),
    ];
    // Whoever is in the mesh excludes the port, in both directions.
    let excluded = args.excluded_port.map(at);
    checks.extend(
        excluded.map(|to| Check::new(&format!("excluded port of {host}"), to, Expectation::Uncaptured)),
    );
    let closed = args.closed_port.map(at);
    checks.extend(closed.map(|to| Check::new(&format!("closed port of {host}"), to, Expectation::Closed)));
    checks
}

/// What the pod says to itself stays its own, on loopback and on the addresses from which it reaches the others.
fn of_itself(others: &[Check], port: u16) -> Vec<Check> {
    let mut own: Vec<IpAddr> = others
        .iter()
        .filter_map(|check| source_towards(check.to).ok())
        .collect();
    let loopbacks: Vec<IpAddr> = own
        .iter()
        .map(|address| match address {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        })
        .collect();
    own.extend(loopbacks);
    own.sort_unstable();
    own.dedup();
    own.into_iter()
        .map(|address| Check::new("itself", (address, port).into(), Expectation::Uncaptured))
        .collect()
}

/// Nothing is sent: connecting a datagram socket only asks for the route.
fn source_towards(to: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

fn resolve(host: &str, port: u16, report: &mut Report) -> Vec<SocketAddr> {
    match (host, port).to_socket_addrs() {
        Ok(addresses) => {
            let mut addresses: Vec<SocketAddr> = addresses.collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses
        }
        Err(error) => {
            report.add_unresolved(host, &error);
            Vec::new()
        }
    }
}
