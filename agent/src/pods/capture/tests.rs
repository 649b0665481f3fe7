use std::fmt::Write;

use super::*;

const SIDECAR: &str = "traffic.sidecar.istio.io/";

fn map(pairs: &[(&str, &str)]) -> StringMap {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Reads annotations of the `traffic.sidecar.istio.io/` kind, written `key=value; key=value`, that must be flawless.
fn traffic(text: &str) -> Capture {
    let pairs = text.split("; ").map(|pair| pair.split_once('=').unwrap());
    let annotations = pairs
        .map(|(key, value)| (format!("{SIDECAR}{key}"), value.to_owned()))
        .collect();
    let (capture, warnings) = Capture::from_annotations(&annotations);
    assert_eq!(warnings, [], "{text:?}");
    capture
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn without_annotations_everything_is_captured() {
    let (capture, warnings) = Capture::from_annotations(&map(&[("unrelated", "x")]));
    assert_eq!(
        (&capture, warnings.as_slice()),
        (&Capture::default(), [].as_slice())
    );
    assert_eq!(capture.outbound_exclusion(ip("10.0.0.1"), 80), None);
    assert_eq!(capture.outbound_exclusion(ip("2001:db8::1"), 443), None);
    assert_eq!(capture.inbound_exclusion(8080), None);
    assert!(capture.captures_dns(true));
    assert!(!capture.captures_dns(false));
}

/// All four outbound lists at once, for the order of precedence.
const FOUR: &str = "excludeOutboundPorts=22, 23; excludeOutboundIPRanges=10.1.0.0/16,fd00:1::/32; \
                    includeOutboundPorts=22,9000; includeOutboundIPRanges=10.0.0.0/8,fd00::/8";

#[test]
fn outbound_decisions() {
    use Exclusion::{PortExcluded, RangeExcluded, RangeNotIncluded};
    let table = [
        (FOUR, "10.0.0.1", 22, Some(PortExcluded)),
        (FOUR, "10.1.0.1", 22, Some(PortExcluded)),
        (FOUR, "10.1.0.1", 9000, Some(RangeExcluded)),
        (FOUR, "fd00:1::1", 9000, Some(RangeExcluded)),
        (FOUR, "8.8.8.8", 9000, None),
        (FOUR, "2001:db8::1", 9000, None),
        (FOUR, "10.0.0.1", 80, None),
        (FOUR, "fd00::1", 80, None),
        (FOUR, "8.8.8.8", 80, Some(RangeNotIncluded)),
        (FOUR, "2001:db8::1", 80, Some(RangeNotIncluded)),
        (FOUR, "::ffff:10.1.0.1", 80, Some(RangeExcluded)),
        (FOUR, "::ffff:10.2.0.1", 80, None),
        ("excludeOutboundPorts=22", "10.0.0.1", 23, None),
        (
            "excludeOutboundIPRanges=10.0.0.1/32",
            "10.0.0.1",
            80,
            Some(RangeExcluded),
        ),
        ("excludeOutboundIPRanges=10.0.0.1/32", "10.0.0.2", 80, None),
        ("excludeOutboundIPRanges=0.0.0.0/0", "fd00::1", 80, None),
        ("excludeOutboundIPRanges=::/0", "10.0.0.1", 80, None),
        ("excludeOutboundIPRanges=::/0", "::ffff:10.0.0.1", 80, None),
        (
            "excludeOutboundIPRanges=10.9.9.9/8",
            "10.0.0.1",
            80,
            Some(RangeExcluded),
        ),
        (
            "excludeOutboundIPRanges=::ffff:10.0.0.0/104",
            "10.0.0.1",
            80,
            Some(RangeExcluded),
        ),
        ("includeOutboundIPRanges=", "10.0.0.1", 80, Some(RangeNotIncluded)),
        ("includeOutboundIPRanges=*", "10.0.0.1", 80, None),
        (
            "includeOutboundIPRanges=10.0.0.0/8",
            "fd00::1",
            80,
            Some(RangeNotIncluded),
        ),
        ("includeOutboundPorts=80", "10.0.0.1", 443, None),
        (
            "includeOutboundPorts=80; includeOutboundIPRanges=",
            "10.0.0.1",
            80,
            None,
        ),
        (
            "includeOutboundPorts=80; includeOutboundIPRanges=",
            "10.0.0.1",
            81,
            Some(RangeNotIncluded),
        ),
        (
            "includeOutboundPorts=*; includeOutboundIPRanges=",
            "10.0.0.1",
            81,
            None,
        ),
        (
            "includeOutboundPorts=*; excludeOutboundPorts=81",
            "10.0.0.1",
            81,
            Some(PortExcluded),
        ),
    ];
    for (annotations, address, port, expected) in table {
        let exclusion = traffic(annotations).outbound_exclusion(ip(address), port);
        assert_eq!(exclusion, expected, "{annotations:?}: {address} {port}");
    }
}

#[test]
fn inbound_decisions() {
    use Exclusion::{PortExcluded, PortNotIncluded};
    let table = [
        ("includeInboundPorts=*", 80, None),
        ("includeInboundPorts=", 80, Some(PortNotIncluded)),
        ("includeInboundPorts=80,443", 443, None),
        ("includeInboundPorts=80,443", 8080, Some(PortNotIncluded)),
        ("excludeInboundPorts=9090", 9090, Some(PortExcluded)),
        ("excludeInboundPorts=9090", 80, None),
        (
            "excludeInboundPorts=80; includeInboundPorts=80,443",
            80,
            Some(PortExcluded),
        ),
        ("excludeInboundPorts=80; includeInboundPorts=80,443", 443, None),
        ("excludeInboundPorts=", 80, None),
    ];
    for (annotations, port, expected) in table {
        assert_eq!(
            traffic(annotations).inbound_exclusion(port),
            expected,
            "{annotations:?}: {port}"
        );
    }
}

#[test]
fn inbound_bypass_beats_included_ports() {
    let annotations = map(&[
        ("ambient.istio.io/bypass-inbound-capture", "true"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "80"),
    ]);
    let (capture, _) = Capture::from_annotations(&annotations);
    assert_eq!(capture.inbound_exclusion(80), Some(Exclusion::InboundBypassed));
    assert_eq!(capture.outbound_exclusion(ip("10.0.0.1"), 80), None);
}

#[test]
fn booleans_are_spelt_as_go_spells_them() {
    let read = |value| Capture::from_annotations(&map(&[("ambient.istio.io/dns-capture", value)]));
    for value in ["1", "t", "T", "TRUE", "true", "True"] {
        assert!(
            matches!(read(value), (Capture { dns: Some(true), .. }, warnings) if warnings.is_empty()),
            "{value}"
        );
    }
    for value in ["0", "f", "F", "FALSE", "false", "False"] {
        assert!(
            matches!(read(value), (Capture { dns: Some(false), .. }, warnings) if warnings.is_empty()),
            "{value}"
        );
    }
    for value in ["", "yes", "tRUE", " true", "on", "2"] {
        assert!(
            matches!(read(value), (Capture { dns: None, .. }, warnings) if warnings.len() == 1),
            "{value}"
        );
    }
}

#[test]
fn a_pod_decides_on_dns_for_itself() {
    let dns = |value, node| {
        Capture::from_annotations(&map(&[("ambient.istio.io/dns-capture", value)]))
            .0
            .captures_dns(node)
    };
    assert!(dns("true", false));
    assert!(!dns("false", true));
    assert!(!traffic("excludeOutboundPorts=53").captures_dns(true));
    assert!(traffic("excludeOutboundIPRanges=0.0.0.0/0").captures_dns(true));
}

#[test]
fn virtual_interfaces_keep_their_order() {
    let read =
        |value: &str| Capture::from_annotations(&map(&[("istio.io/reroute-virtual-interfaces", value)]));
    let (capture, warnings) = read("tap1, tap0,tap1");
    assert_eq!(warnings, []);
    let names: Vec<_> = capture
        .virtual_interfaces
        .iter()
        .map(InterfaceName::as_str)
        .collect();
    assert_eq!(names, ["tap1", "tap0"]);
    for bad in ["a/b", "sixteen-bytes-xx", "a b", "..", "a:b"] {
        let (capture, warnings) = read(&format!("tap0,{bad}"));
        assert!(capture.virtual_interfaces.is_empty(), "{bad}");
        assert!(
            warnings[0]
                .to_string()
                .contains(&format!("{bad:?} is not an interface name")),
            "{}",
            warnings[0]
        );
    }
}

/// `key=value` and what the warning says of it.
const MALFORMED: [(&str, &str); 19] = [
    (
        "excludeOutboundPorts=80,http",
        "\"http\" is not a port: write numbers from 1 to 65535",
    ),
    ("excludeOutboundPorts=65536", "\"65536\" is not a port"),
    ("excludeOutboundPorts=0", "\"0\" is not a port"),
    ("excludeOutboundPorts=+80", "\"+80\" is not a port"),
    ("excludeOutboundPorts=-80", "\"-80\" is not a port"),
    (
        "excludeOutboundPorts=80-90",
        "\"80-90\" is a range of ports: list each port",
    ),
    ("excludeOutboundPorts=80:90", "\"80:90\" is a range of ports"),
    ("excludeOutboundPorts=80,", "empty item: remove the extra comma"),
    (
        "excludeOutboundPorts=*",
        "\"*\" can only stand alone, and only in an include",
    ),
    ("includeOutboundPorts=*,80", "\"*\" can only stand alone"),
    ("includeInboundPorts=80;443", "\"80;443\" is not a port"),
    ("excludeInboundPorts=80 443", "\"80 443\" is not a port"),
    (
        "excludeOutboundIPRanges=10.0.0.0",
        "10.0.0.0 has no prefix length: write 10.0.0.0/32",
    ),
    (
        "excludeOutboundIPRanges=fd00::1",
        "fd00::1 has no prefix length: write fd00::1/128",
    ),
    (
        "excludeOutboundIPRanges=10.0.0.0/33",
        "\"10.0.0.0/33\" is not an IP range: write CIDR",
    ),
    (
        "excludeOutboundIPRanges=10.0.0.0/255.0.0.0",
        "\"10.0.0.0/255.0.0.0\" is not an IP range",
    ),
    (
        "excludeOutboundIPRanges=example.org/8",
        "\"example.org/8\" is not an IP range",
    ),
    (
        "excludeOutboundIPRanges=*",
        "\"*\" can only stand alone, and only in an include",
    ),
    ("includeOutboundIPRanges=10.0.0.0/8,,", "empty item"),
];

/// A value with one flaw keeps the default of its annotation, leaves the others alone, and the warning says it all.
#[test]
fn a_malformed_list_is_named_and_ignored() {
    for (pair, complaint) in MALFORMED {
        let (key, value) = pair.split_once('=').unwrap();
        let annotation = format!("{SIDECAR}{key}");
        let annotations = map(&[(&annotation, value), ("ambient.istio.io/dns-capture", "true")]);
        let (capture, warnings) = Capture::from_annotations(&annotations);
        assert_eq!(
            capture,
            Capture {
                dns: Some(true),
                ..Capture::default()
            },
            "{pair}"
        );
        let [warning] = warnings.as_slice() else {
            panic!("{pair}: {warnings:?}")
        };
        let message = warning.to_string();
        assert!(
            message.starts_with(&format!("annotation {annotation} is ignored: ")),
            "{message}"
        );
        assert!(message.contains(complaint), "{message}");
    }
}

#[test]
fn lists_have_room_for_64_different_items() {
    let ports = |count: u16| {
        (1..=count)
            .map(|port| port.to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let ranges = |count: u16| {
        (0..count)
            .map(|net| format!("10.{net}.0.0/16"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let filter = traffic(&format!("excludeInboundPorts={}", ports(64))).inbound_filter;
    assert_eq!(filter.exclude_ports.len(), 64);
    let filter = traffic(&format!("excludeInboundPorts={},{}", ports(64), ports(64))).inbound_filter;
    assert_eq!(filter.exclude_ports.len(), 64, "repeated items count once");
    let filter = traffic(&format!("excludeOutboundIPRanges={}", ranges(64))).outbound_filter;
    assert_eq!(filter.exclude_ranges.len(), 64);
    for (key, value) in [
        ("excludeInboundPorts", ports(65)),
        ("excludeOutboundIPRanges", ranges(65)),
    ] {
        let (capture, warnings) = Capture::from_annotations(&map(&[(&format!("{SIDECAR}{key}"), &value)]));
        assert_eq!(capture, Capture::default(), "{key}");
        assert_eq!(warnings[0].problem, Problem::TooMany, "{key}");
    }
}

#[test]
fn a_warning_is_one_short_line() {
    let junk = "x\n".repeat(1000);
    let (_, warnings) = Capture::from_annotations(&map(&[("ambient.istio.io/dns-capture", &junk)]));
    let message = warnings[0].to_string();
    assert!(message.len() < 300 && !message.contains('\n'), "{message}");
}

/// xorshift64: the same junk in every run.
struct Junk(u64);

impl Junk {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// A string of pieces that sit around the edges of the grammar.
    fn text(&mut self) -> String {
        const PIECES: [&str; 24] = [
            ",",
            "*",
            "/",
            ".",
            ":",
            "-",
            "+",
            " ",
            "\0",
            "é",
            "\u{10ffff}",
            "0",
            "1",
            "255",
            "65535",
            "65536",
            "10.0.0.0",
            "::",
            "::ffff:1.2.3.4",
            "/32",
            "/129",
            "/18446744073709551616",
            "true",
            "%eth0",
        ];
        let mut text = String::new();
        for _ in 0..self.below(12) {
            match self.below(8) {
                0 => text.push(char::from(u8::try_from(self.below(256)).unwrap())),
                1 => write!(text, "{}", self.below(70_000)).unwrap(),
                _ => text.push_str(PIECES[self.below(PIECES.len())]),
            }
        }
        text
    }
}

/// Whatever a pod's owner writes: no panic, and each annotation is either obeyed or warned about.
#[test]
fn junk_is_obeyed_or_warned_about() {
    let keys = [
        "ambient.istio.io/bypass-inbound-capture",
        "ambient.istio.io/dns-capture",
        "istio.io/reroute-virtual-interfaces",
        "traffic.sidecar.istio.io/includeInboundPorts",
        "traffic.sidecar.istio.io/excludeInboundPorts",
        "traffic.sidecar.istio.io/includeOutboundPorts",
        "traffic.sidecar.istio.io/excludeOutboundPorts",
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
        "traffic.sidecar.istio.io/excludeOutboundIPRanges",
    ];
    let mut junk = Junk(0x9e37_79b9_7f4a_7c15);
    for _ in 0..5_000 {
        let annotations: StringMap = keys.iter().map(|key| ((*key).to_owned(), junk.text())).collect();
        let (capture, warnings) = Capture::from_annotations(&annotations);
        for warning in &warnings {
            assert!(!warning.to_string().contains(['\n', '\0']), "{warning}");
            let without: StringMap = annotations
                .iter()
                .filter(|(key, _)| *key != warning.annotation)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            assert_eq!(Capture::from_annotations(&without).0, capture, "{warning}");
        }
        let port = u16::try_from(junk.below(65_536)).unwrap();
        let address = if port % 2 == 0 { ip("10.0.0.1") } else { ip("::1") };
        let excluded = capture.outbound_filter.exclude_ports.contains(&port);
        assert_eq!(
            capture.outbound_exclusion(address, port) == Some(Exclusion::PortExcluded),
            excluded
        );
    }
}
