//! What the guard makes of packets of every shape: its verdict and what it counts.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod own_datapath;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use aya::maps::lpm_trie::Key;
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use own_datapath::OwnDatapath;
use weir_agent::datapath::object;
use weir_common::address::{Address, OwnAddress};
use weir_common::filter::{self, EXCLUDE, PortRule, RangeRule};
use weir_common::mark;
use weir_common::names::map;
use weir_common::node::NodeSettings;
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_testbeds::packet::{ACK, FIN, Packet, RST, SYN};

const POD: u64 = 77;
const ENFORCING: u32 = NodeSettings::GUARD_ENFORCES | NodeSettings::TRUST_MARK_ALONE;
const GO_ON: u32 = u32::MAX;
const DROP: u32 = 2;

/// The guard's programs on made-up packets, in a pod with some addresses and annotations.
struct Guard {
    own: OwnDatapath,
    object: Ebpf,
}

impl Guard {
    fn new(label: &str) -> Self {
        let own = OwnDatapath::new(label);
        own.set_flags(ENFORCING);
        let maps = own.datapath.maps();
        for address in ["10.1.0.5", "fd01::5"] {
            let address: std::net::IpAddr = address.parse().unwrap();
            let key = OwnAddress {
                netns: POD,
                address: address.into(),
            };
            maps.own_addresses().unwrap().insert(key, 1, 0).unwrap();
        }
        let port = PortRule {
            netns: POD,
            direction: filter::OUTBOUND,
            port: 3306,
            reserved: 0,
        };
        maps.port_rules().unwrap().insert(port, EXCLUDE, 0).unwrap();
        let range: std::net::IpAddr = "10.9.0.0".parse().unwrap();
        let range = Key::new(64 + 96 + 16, RangeRule::new(POD, Address::from(range)));
        maps.range_rules().unwrap().insert(&range, EXCLUDE, 0).unwrap();
        let guard = Self {
            object: load(&own),
            own,
        };
        guard.set_pod(PodEntry::CAPTURING | PodEntry::OUTBOUND_FILTER);
        guard
    }

    fn set_pod(&self, flags: u32) {
        let entry = PodEntry { flags, sysctls: 0 };
        self.own.datapath.maps().set_pod(POD, entry.into()).unwrap();
    }

    fn run(&mut self, program: &str, bytes: &[u8], mark: u32) -> u32 {
        let program: &mut SchedClassifier = self.object.program_mut(program).unwrap().try_into().unwrap();
        if program.fd().is_err() {
            program.load().unwrap();
        }
        // The kernel's `__sk_buff`, of which a run may set the mark.
        let mut context = [0; 192];
        context[8..12].copy_from_slice(&mark.to_ne_bytes());
        let options = TestRunOptions {
            data_in: Some(bytes),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        program.test_run(options).unwrap().return_value
    }

    /// Runs and tells the verdict and what was counted.
    fn judge(&mut self, program: &str, bytes: &[u8], mark: u32) -> (u32, BTreeMap<&'static str, u64>) {
        let before = self.counts();
        let verdict = self.run(program, bytes, mark);
        let mut counted = self.counts();
        counted.retain(|reason, count| {
            *count -= before.get(reason).copied().unwrap_or(0);
            *count > 0
        });
        (verdict, counted)
    }

    fn counts(&self) -> BTreeMap<&'static str, u64> {
        Reason::ALL
            .iter()
            .map(|reason| (reason.name(), self.own.count(POD, *reason)))
            .collect()
    }
}

fn load(own: &OwnDatapath) -> Ebpf {
    let mut loader = EbpfLoader::new();
    for name in map::ALL {
        loader.map_pin_path(name, own.datapath.pins().map(name));
    }
    loader
        .override_global("NETNS_COOKIE", &POD, true)
        .load(object::TC)
        .unwrap()
}

fn leak() -> (u32, BTreeMap<&'static str, u64>) {
    (DROP, BTreeMap::from([("leaked", 1)]))
}

fn nothing() -> (u32, BTreeMap<&'static str, u64>) {
    (GO_ON, BTreeMap::new())
}

fn v4() -> Packet {
    to("10.2.0.9:80")
}

fn v6() -> Packet {
    to("[fd02::9]:80")
}

fn to(destination: &str) -> Packet {
    let destination: SocketAddr = destination.parse().unwrap();
    let source = if destination.is_ipv4() {
        "10.1.0.5:40000"
    } else {
        "[fd01::5]:40000"
    };
    Packet::syn(source.parse().unwrap(), destination)
}

/// Every shape of header in which a new connection is recognised, and how many bytes of it are needed for that.
fn recognised() -> Vec<(&'static str, Packet, usize)> {
    let ethernet = 14;
    // The stack that takes the packet looks at the length; a lie about it gets nothing past the guard.
    let lies = v4()
        .of_wrong_lengths()
        .map(|(name, packet)| (name, packet, ethernet + 20 + 14));
    let lies_v6 = v6()
        .of_wrong_lengths()
        .map(|(name, packet)| (name, packet, ethernet + 40 + 14));
    let shapes = [
        ("plain v4", v4(), ethernet + 20 + 14),
        ("plain v6", v6(), ethernet + 40 + 14),
        ("v4 options", v4().options(3), ethernet + 32 + 14),
        ("most v4 options", v4().options(10), ethernet + 60 + 14),
        ("vlan", v4().vlan(5), ethernet + 4 + 20 + 14),
        ("vlan v6", v6().vlan(5), ethernet + 4 + 40 + 14),
        (
            "vlan, v4 options",
            v4().vlan(5).options(3),
            ethernet + 4 + 32 + 14,
        ),
        (
            "vlan, hop by hop",
            v6().vlan(5).extension(0, 8),
            ethernet + 4 + 48 + 14,
        ),
        ("two tags", v4().provider_vlan(9).vlan(5), ethernet + 8 + 20 + 14),
        ("hop by hop", v6().extension(0, 8), ethernet + 48 + 14),
        ("routing", v6().extension(43, 24), ethernet + 64 + 14),
        ("destination options", v6().extension(60, 16), ethernet + 56 + 14),
        ("authentication", v6().extension(51, 24), ethernet + 64 + 14),
        (
            "longest extension",
            v6().extension(60, 2048),
            ethernet + 2088 + 14,
        ),
        (
            "many extensions",
            v6().extension(0, 8)
                .extension(60, 8)
                .extension(43, 8)
                .extension(51, 16)
                .extension(60, 8),
            ethernet + 88 + 14,
        ),
        (
            "all options",
            v6().extension(0, 8).fragment(0, false),
            ethernet + 56 + 14,
        ),
        ("data in the SYN", v4().payload(*b"fast open"), ethernet + 20 + 14),
        ("odd flags", v4().flags(SYN | FIN | RST), ethernet + 20 + 14),
        // Flags that a tiny first fragment hides are taken for a SYN's: the ports suffice.
        ("first fragment v4", v4().fragment(0, true), ethernet + 20 + 4),
        ("first fragment v6", v6().fragment(0, true), ethernet + 48 + 4),
    ];
    shapes.into_iter().chain(lies).chain(lies_v6).collect()
}

/// The kernel runs nothing on less than the headers that it knows itself; with a VLAN tag it knows only the Ethernet header.
fn shortest(bytes: &[u8]) -> usize {
    match bytes[12..14] {
        [0x08, 0x00] => 14 + 20,
        [0x86, 0xdd] => 14 + 40,
        _ => 14 + 1,
    }
}

#[test]
fn a_new_connection_is_found_in_every_shape_and_never_in_half_of_one() {
    let mut guard = Guard::new("shapes");
    for (name, packet, needed) in recognised() {
        let bytes = packet.build();
        assert_eq!(guard.judge("weir_guard", &bytes, 0), leak(), "{name}");
        for length in shortest(&bytes)..bytes.len() {
            let expected = if length < needed { nothing() } else { leak() };
            let judged = guard.judge("weir_guard", &bytes[..length], 0);
            assert_eq!(judged, expected, "{name}, cut off at {length}");
        }
    }
}

#[test]
fn a_new_connection_is_found_on_interfaces_without_ethernet_headers() {
    let mut guard = Guard::new("tunnel");
    for (name, packet, _) in recognised() {
        let bytes = packet.clone().without_ethernet().build();
        assert_eq!(guard.judge("weir_guard_ip", &bytes, 0), leak(), "{name}");
        let judged = guard.judge("weir_guard_ip", &packet.build(), 0);
        assert_eq!(judged, nothing(), "{name}: an Ethernet header is no IP header");
    }
}

#[test]
fn everything_else_goes_on() {
    let mut guard = Guard::new("others");
    let with_byte = |packet: Packet, at: usize, byte: u8| {
        let mut bytes = packet.build();
        bytes[at] = byte;
        bytes
    };
    for (name, bytes) in [
        ("SYN-ACK", v4().flags(SYN | ACK).build()),
        ("data", v6().flags(ACK).payload(*b"x").build()),
        ("RST", v4().flags(RST).build()),
        ("UDP", v4().protocol(17).build()),
        ("UDP v6", v6().protocol(17).build()),
        ("ESP", v6().protocol(50).build()),
        ("no next header", v6().extension(0, 8).protocol(59).build()),
        ("later fragment", v4().fragment(3, true).build()),
        ("last fragment", v4().fragment(3, false).build()),
        ("later fragment v6", v6().fragment(3, true).build()),
        ("three tags", v4().vlan(1).vlan(2).vlan(3).build()),
        ("ARP", with_byte(v4(), 13, 0x06)),
        ("wrong version", with_byte(v4(), 14, 0x65)),
        ("wrong version v6", with_byte(v6(), 14, 0x40)),
        ("short header length", with_byte(v4(), 14, 0x44)),
        (
            "nine extensions",
            (0..9).fold(v6(), |packet, _| packet.extension(60, 8)).build(),
        ),
    ] {
        assert_eq!(guard.judge("weir_guard", &bytes, 0), nothing(), "{name}");
    }
}

#[test]
fn what_may_leave_uncaptured_does() {
    let mut guard = Guard::new("exempt");
    for destination in [
        "127.0.0.1:80",
        "[::1]:80",
        "10.1.0.5:80",
        "[fd01::5]:80",
        "[fe80::1]:80",
        "10.2.0.9:3306",
        "[fd02::9]:3306",
        "10.9.200.1:80",
    ] {
        let judged = guard.judge("weir_guard", &to(destination).build(), 0);
        assert_eq!(judged, nothing(), "{destination}");
    }
    assert_eq!(guard.judge("weir_guard", &to("10.10.0.1:80").build(), 0), leak());
    guard.set_pod(PodEntry::OUTBOUND_FILTER);
    assert_eq!(
        guard.judge("weir_guard", &v4().build(), 0),
        nothing(),
        "not capturing yet"
    );
}

#[test]
fn marks_tell_ztunnels_connections_and_those_that_went_astray() {
    let mut guard = Guard::new("marks");
    let other_bits = 0xabc0_0000;
    let syn = v4().build();
    let data = v4().flags(ACK).payload(*b"clear text").build();
    let unrouted = (DROP, BTreeMap::from([("unrouted", 1)]));
    assert_eq!(guard.judge("weir_guard", &syn, mark::ZTUNNEL), nothing());
    assert_eq!(
        guard.judge("weir_guard", &syn, mark::ZTUNNEL | other_bits),
        nothing()
    );
    assert_eq!(guard.judge("weir_guard", &syn, other_bits), leak());
    assert_eq!(guard.judge("weir_guard", &syn, mark::OUTBOUND), unrouted);
    assert_eq!(
        guard.judge("weir_guard", &data, mark::OUTBOUND | other_bits),
        unrouted
    );
    guard.own.set_flags(NodeSettings::TRUST_MARK_ALONE);
    assert_eq!(
        guard.judge("weir_guard", &syn, mark::OUTBOUND),
        unrouted,
        "auditing makes no difference"
    );
}

#[test]
fn ztunnels_mark_counts_only_in_ztunnels_cgroup_where_that_is_known() {
    let mut guard = Guard::new("forged");
    guard.own.set_flags(NodeSettings::GUARD_ENFORCES);
    assert_eq!(guard.judge("weir_guard", &v4().build(), mark::ZTUNNEL), leak());
}

#[test]
fn auditing_counts_and_lets_go() {
    let mut guard = Guard::new("audit");
    guard.own.set_flags(0);
    let counted = BTreeMap::from([("leaked", 1)]);
    assert_eq!(guard.judge("weir_guard", &v4().build(), 0), (GO_ON, counted));
}
