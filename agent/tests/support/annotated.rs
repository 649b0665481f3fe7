//! What annotations include and exclude, tried on every address and port, and compared with the reference.

use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;
use weir_agent::pods::capture::Capture;
use weir_agent::pods::pod::StringMap;
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::netlink::Netlink;
use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, Server};
use weir_testbeds::world::Host;

/// An annotation without its prefix, and its value.
type Short = (&'static str, &'static str);

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

/// Each is a pod's.
pub const OUTBOUND: [&[Short]; 17] = [
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

/// Each is a pod's.
pub const INBOUND: [&[Short]; 6] = [
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

fn annotations(short: &[Short]) -> StringMap {
    short
        .iter()
        .map(|(key, value)| (format!("traffic.sidecar.istio.io/{key}"), (*value).to_owned()))
        .collect()
}

fn pod(number: usize) -> String {
    format!("pod{number}")
}

/// One more pod in the mesh for each set of annotations.
pub fn with_pods(builder: Builder, sets: &[&[Short]]) -> Builder {
    sets.iter().enumerate().fold(builder, |builder, (number, set)| {
        let name = pod(number);
        annotations(set)
            .iter()
            .fold(builder.enrolled(&name), |builder, (key, value)| {
                builder.annotate(&name, key, value)
            })
    })
}

/// A server at every port of every address.
pub fn serve_all(netns: &Netns) -> Vec<Server> {
    PORTS
        .iter()
        .map(|port| Server::anywhere(netns, *port).unwrap())
        .collect()
}

/// Every port of these addresses.
pub fn grid(addresses: impl IntoIterator<Item = IpAddr>) -> impl Iterator<Item = SocketAddr> {
    addresses
        .into_iter()
        .flat_map(|address| PORTS.map(|port| SocketAddr::new(address, port)))
}

fn add_addresses(remote: &Host) -> Vec<IpAddr> {
    let further = ADDRESSES.map(|address| address.parse::<IpNetwork>().unwrap());
    for address in further {
        let add = async |link: Netlink| link.add_address("eth0", address).await;
        remote.netns.netlink(add).unwrap();
    }
    let further = further.into_iter().map(|address| address.ip());
    remote.addresses.iter().chain(further).collect()
}

/// What the pods of [`OUTBOUND`] open is captured if the reference says so, whichever socket they use.
pub fn assert_outbound_as_the_reference_says(mesh: &Mesh) {
    let addresses = add_addresses(&mesh.world.remote);
    let _servers = serve_all(&mesh.world.remote.netns);
    let mut wrong = Vec::new();
    for (number, set) in OUTBOUND.iter().enumerate() {
        let (reference, _) = Capture::from_annotations(&annotations(set));
        for to in grid(addresses.iter().copied()) {
            let expected = reference.outbound_exclusion(to.ip(), to.port());
            let spec = ClientSpec::to(to);
            let mapped = to.is_ipv4().then(|| spec.clone().v4_mapped());
            for spec in [Some(spec), mapped].into_iter().flatten() {
                let seen = Client::exchange(&mesh.pod(&pod(number)).netns, &spec).unwrap();
                if seen.was_captured() == expected.is_some() {
                    wrong.push(format!("{set:?} {to}: reference {expected:?}, saw {seen:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What comes to the pods of [`INBOUND`] is captured if the reference says so.
pub fn assert_inbound_as_the_reference_says(mesh: &Mesh, assert_captured: impl Fn(&Exchange)) {
    for (number, set) in INBOUND.iter().enumerate() {
        let (reference, _) = Capture::from_annotations(&annotations(set));
        let pod = mesh.pod(&pod(number));
        let _servers = serve_all(&pod.netns);
        for to in grid(pod.addresses().iter()) {
            let seen = Client::exchange(&mesh.world.remote.netns, &ClientSpec::to(to)).unwrap();
            match reference.inbound_exclusion(to.port()) {
                Some(_) => assert!(seen.went_straight(), "{set:?} {to}: {seen:?}"),
                None => assert_captured(&seen),
            }
        }
    }
}

/// Nothing that comes to the pod is captured, which bypasses inbound capture.
pub fn assert_everything_comes_in(mesh: &Mesh, pod: &str) {
    let pod = mesh.pod(pod);
    let _servers = serve_all(&pod.netns);
    for to in grid(pod.addresses().iter()) {
        let seen = Client::exchange(&mesh.world.remote.netns, &ClientSpec::to(to)).unwrap();
        assert!(seen.went_straight(), "{to}: {seen:?}");
    }
}

/// Has nothing captured that comes to the pod.
pub fn bypassing(builder: Builder, pod: &str) -> Builder {
    builder.annotate(pod, "ambient.istio.io/bypass-inbound-capture", "true")
}
