//! `docs/cni.md` says what the code says and the tests show. `WEIR_BLESS=1` rewrites it.

#[path = "wiring_table/mod.rs"]
mod wiring_table;

use std::fs;
use std::path::PathBuf;

use weir_netdetect::choose::{ChoiceConfig, Contract, Leg, Plan, choose};
use weir_netdetect::cni::TABLE;
use weir_netdetect::facts::{
    DefaultRoutes, FarEnd, Interface, KernelFacts, KernelVersion, Kind, NetnsId, Place, PodFacts,
};
use weir_testbeds::world::Wiring;
use wiring_table::{Far, Row, rows};

const HEAD: &str = "\
# How pods are connected

How a pod is connected decides on which path its connections get to ztunnel; [`weir detect`](detect.md) tells both. With
a ztunnel **in the pods** (Istio 1.21 and newer) the path is `socket` for every wiring here. With a ztunnel of the
**node**, which has its sockets in its own namespace, it depends on the wiring, as the tables say.

The tables are made from `netdetect/src/cni/table.rs` and from what the tests compare with
(`netdetect/tests/wiring_table`); `WEIR_BLESS=1 cargo test -p weir-netdetect --test docs_cni` writes them.

## Wirings

Each is built in network namespaces and recognised there, on any kernel that has its driver. The last column says on which
kernels connections were made with a node ztunnel, both ways, and went where the plan says (or, where it says *not
captured*, passed and were told of): Debian's 6.1 and 6.12 (`./x test vm`), and 6.18.

| wiring | interface | node: outbound | node: inbound | what does not work, and what would help | node ztunnel tried on |
|---|---|---|---|---|---|
";

const PLUGINS: &str = "
What is none of these (tunnels, a macvlan whose parent is not the node's, kinds that have no name yet) is `unknown`: with a
node ztunnel Weir does not try, and says so. A pod without an interface that leads out is left alone until one comes.

Where connections are made to ztunnel at the socket, what it answers has to get back to the pod. Nothing passes from the
node's own interface to its macvlan and ipvlan children: with a ztunnel on veth they were tried with a route on the node by
which answers take the LAN's router.

## Plugins

A plugin is known by what it leaves behind. What hardly anybody else does counts double; *certain* takes the configuration
and an interface, *likely* one of them, *weak* is what others do too. *Simulated* means that the wiring was built as the
plugin builds it, and the plugin itself never ran in our tests; the real ones are Debian's `containernetworking-plugins`.

| plugin | interface | known by | tried |
|---|---|---|---|
";

fn generated() -> String {
    let wirings: String = rows().map(|row| wiring(&row)).collect();
    let plugins: String = TABLE
        .iter()
        .map(|signature| {
            let patterns: Vec<_> = signature.patterns.iter().map(ToString::to_string).collect();
            format!(
                "| {} | {} | {} | {} |\n",
                signature.cni,
                signature.kinds.join(", "),
                patterns.join("; "),
                signature.tried
            )
        })
        .collect();
    format!("{HEAD}{wirings}{PLUGINS}{plugins}")
}

fn wiring(row: &Row) -> String {
    let plan = plan(row);
    assert_eq!(
        (plan.outbound.path, plan.inbound.path),
        (row.outbound, row.inbound)
    );
    let tried = tried(row.wiring);
    format!(
        "| {} | {} | {} | {} | {} | {tried} |\n",
        row.what,
        row.kind.word(),
        row.outbound,
        row.inbound,
        lack(&plan.inbound)
    )
}

/// The kernels of the tests in `agent/tests/world_node`, and of those that `./x test vm` runs.
const fn tried(wiring: Wiring) -> &'static str {
    match wiring {
        Wiring::Bridge
        | Wiring::MacvlanVepa
        | Wiring::MacvlanPrivate
        | Wiring::MacvlanPassthru
        | Wiring::Device => "6.1, 6.12, 6.18",
        Wiring::PointToPoint
        | Wiring::AzureTransparent
        | Wiring::AzureBridge
        | Wiring::AwsVpc
        | Wiring::Gke
        | Wiring::MacvlanBridge => "6.18",
        Wiring::IpvlanL2 | Wiring::IpvlanL3 | Wiring::IpvlanL3s | Wiring::Vlan => "6.1, 6.12",
        Wiring::Netkit => "6.12",
    }
}

fn lack(leg: &Leg) -> String {
    match &leg.remedy {
        Some(remedy) if !leg.path.captures() => format!("{}; {remedy}", leg.why),
        Some(remedy) => format!("it takes {remedy}"),
        None => String::new(),
    }
}

/// The plan for a pod with nothing but this interface.
fn plan(row: &Row) -> Plan {
    let place = match row.far {
        Far::Peer | Far::ChildOf(_) => Place::Host,
        Far::Elsewhere => Place::Elsewhere { nsid: 0 },
    };
    let interface = |index, name: &str, kind, far_end| Interface {
        index,
        name: name.to_owned(),
        kind,
        mac: None,
        mtu: 1500,
        up: true,
        addresses: Vec::new(),
        controller: None,
        far_end,
        ipv6_disabled: Some(false),
        xdp: Vec::new(),
    };
    let far_end = FarEnd {
        index: 7,
        place,
        name: None,
    };
    let facts = PodFacts {
        netns: NetnsId { inode: 1, device: 1 },
        is_host: false,
        interfaces: vec![
            interface(1, "lo", Kind::Loopback, None),
            interface(2, "eth0", row.kind.clone(), Some(far_end)),
        ],
        routes: Vec::new(),
        default_routes: DefaultRoutes::default(),
        rules: Vec::new(),
    };
    let kernel = KernelFacts::of_version(KernelVersion::new(6, 12));
    choose(&facts, Contract::Node, &kernel, &ChoiceConfig::default())
}

#[test]
fn the_page_is_that_of_the_code() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", "cni.md"]
        .iter()
        .collect();
    if std::env::var_os("WEIR_BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, generated()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(
        written,
        generated(),
        "{} is out of step: run this test with WEIR_BLESS=1",
        path.display()
    );
}
