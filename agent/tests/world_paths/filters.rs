//! What annotations include and exclude: the kernel decides as the reference does.

use std::net::{IpAddr, SocketAddr};

use weir_agent::pods::capture::Capture;
use weir_agent::pods::pod::StringMap;
use weir_testbeds::mesh::Mesh;
use weir_testbeds::traffic::{Client, ClientSpec, Server};
use weir_testbeds::world::Wiring;

use crate::scene::{any, assert_direct, assert_inbound, builder, exchange, is_captured, serve};

// The decision does not depend on the wiring, and there is much to compare.
on_wiring!(
    point_to_point,
    PointToPoint,
    outbound_is_decided_as_the_reference_says,
    inbound_is_decided_as_the_reference_says,
    the_bypass_lets_everything_in
);

const PORTS: [u16; 4] = [443, 8080, 8081, 9090];

/// Further addresses of the remote host: near and far from each other, to tell prefixes apart.
const ADDRESSES: [&str; 6] = [
    "192.168.100.66/32",
    "192.168.100.130/32",
    "172.30.0.1/32",
    "fd00:100::66/128",
    "fd00:100:0:0:8000::1/128",
    "fd77::1/128",
];

const OUTBOUND: [&[(&str, &str)]; 17] = [
    &[],
    &[("excludeOutboundPorts", "443,9090")],
    &[("excludeOutboundIPRanges", "192.168.100.64/26")],
    &[("excludeOutboundIPRanges", "192.168.100.66/32, fd00:100::66/128")],
    &[("excludeOutboundIPRanges", "0.0.0.0/0")],
    &[("excludeOutboundIPRanges", "::/0")],
    &[("excludeOutboundIPRanges", "fd00:100:0:0:8000::/65,172.16.0.0/12")],
    &[
        ("excludeOutboundIPRanges", "::/8"),
        ("includeOutboundIPRanges", "192.168.0.0/16"),
    ],
    &[("includeOutboundIPRanges", "192.168.100.0/25")],
    &[("includeOutboundIPRanges", "::/0")],
    &[("includeOutboundIPRanges", "0.0.0.0/0")],
    &[("includeOutboundIPRanges", "")],
    &[
        ("includeOutboundIPRanges", ""),
        ("includeOutboundPorts", "8080,8081"),
        ("excludeOutboundPorts", "8081"),
    ],
    &[
        ("includeOutboundIPRanges", "10.0.0.0/8"),
        ("includeOutboundPorts", "*"),
    ],
    &[
        ("includeOutboundIPRanges", "192.168.100.66/32,fd00:100::/32"),
        ("excludeOutboundIPRanges", "192.168.0.0/16,fd00:100::66/128"),
    ],
    &[
        ("includeOutboundPorts", "443"),
        ("excludeOutboundIPRanges", "fd00::/8"),
        ("includeOutboundIPRanges", "172.30.0.0/24"),
    ],
    &[
        ("includeOutboundIPRanges", "::ffff:192.168.100.0/121"),
        ("excludeOutboundPorts", "9090,70000"),
    ],
];

const INBOUND: [&[(&str, &str)]; 6] = [
    &[],
    &[("excludeInboundPorts", "443,9090")],
    &[("includeInboundPorts", "443,8080")],
    &[("includeInboundPorts", "")],
    &[
        ("includeInboundPorts", "443,8080"),
        ("excludeInboundPorts", "8080"),
    ],
    &[("includeInboundPorts", "*"), ("excludeInboundPorts", "8081")],
];

fn annotations(short: &[(&str, &str)]) -> StringMap {
    short
        .iter()
        .map(|(key, value)| (format!("traffic.sidecar.istio.io/{key}"), (*value).to_owned()))
        .collect()
}

fn pod(number: usize) -> String {
    format!("pod{number}")
}

/// A mesh with one pod for each set of annotations.
fn mesh(name: &str, wiring: Wiring, sets: &[&[(&str, &str)]]) -> Mesh {
    let mut builder = builder(name, wiring);
    for (number, set) in sets.iter().enumerate() {
        builder = builder.enrolled(&pod(number));
        for (key, value) in annotations(set) {
            builder = builder.annotate(&pod(number), &key, &value);
        }
    }
    builder.start().unwrap()
}

fn serve_all(netns: &weir_testbeds::netns::Netns) -> Vec<Server> {
    PORTS.iter().map(|port| serve(netns, any(*port))).collect()
}

fn outbound_is_decided_as_the_reference_says(wiring: Wiring) {
    let mesh = mesh("outbound", wiring, &OUTBOUND);
    let remote = &mesh.world.remote;
    for address in ADDRESSES {
        let add = async |netlink: weir_testbeds::netlink::Netlink| {
            netlink.add_address("eth0", address.parse().unwrap()).await
        };
        remote.netns.netlink(add).unwrap();
    }
    let _servers = serve_all(&remote.netns);
    let further = ADDRESSES.map(|address| address.parse::<ipnetwork::IpNetwork>().unwrap().ip());
    let addresses: Vec<IpAddr> = remote.addresses.iter().chain(further).collect();
    let mut wrong = Vec::new();
    for (number, set) in OUTBOUND.iter().enumerate() {
        let (reference, _) = Capture::from_annotations(&annotations(set));
        for (address, port) in grid(&addresses) {
            let expected = reference.outbound_exclusion(address, port);
            let to = ClientSpec::to(SocketAddr::new(address, port));
            let mut specs = vec![to.clone()];
            if address.is_ipv4() {
                specs.push(to.v4_mapped());
            }
            for spec in specs {
                let seen = Client::exchange(&mesh.pod(&pod(number)).netns, &spec).unwrap();
                if is_captured(&seen) == expected.is_some() {
                    wrong.push(format!(
                        "{set:?} {address} {port}: reference {expected:?}, saw {seen:?}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn grid(addresses: &[IpAddr]) -> impl Iterator<Item = (IpAddr, u16)> {
    addresses
        .iter()
        .flat_map(|address| PORTS.map(|port| (*address, port)))
}

fn inbound_is_decided_as_the_reference_says(wiring: Wiring) {
    let mesh = mesh("inbound", wiring, &INBOUND);
    for (number, set) in INBOUND.iter().enumerate() {
        let (reference, _) = Capture::from_annotations(&annotations(set));
        let pod = mesh.pod(&pod(number));
        let _servers = serve_all(&pod.netns);
        for (address, port) in grid(&Vec::from_iter(pod.addresses().iter())) {
            let expected = reference.inbound_exclusion(port);
            let seen = exchange(&mesh.world.remote.netns, SocketAddr::new(address, port));
            match expected {
                Some(_) => assert_direct(&seen),
                None => _ = assert_inbound(&mesh, &seen),
            }
        }
    }
}

fn the_bypass_lets_everything_in(wiring: Wiring) {
    let mesh = builder("bypass", wiring)
        .annotate("server", "ambient.istio.io/bypass-inbound-capture", "true")
        .start()
        .unwrap();
    let pod = mesh.pod("server");
    let _servers = serve_all(&pod.netns);
    let _remote = serve_all(&mesh.world.remote.netns);
    for (address, port) in grid(&Vec::from_iter(pod.addresses().iter())) {
        assert_direct(&exchange(
            &mesh.world.remote.netns,
            SocketAddr::new(address, port),
        ));
    }
    for to in crate::scene::remote(&mesh) {
        crate::scene::assert_outbound(&mesh, &exchange(&pod.netns, to), to);
    }
}
