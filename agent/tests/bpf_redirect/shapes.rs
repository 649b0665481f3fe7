//! Headers of every shape, whole and cut off at every byte.

use weir_common::mark;
use weir_testbeds::packet::Packet;

use crate::scene::{Fate, GATEWAY, GO_ON, POD_MAC, STEERED_MAC, Scene, ZTUNNEL_MAC, packet, tag};

/// Every shape of header, and how many bytes of it must be there.
fn shapes(v4: &dyn Fn() -> Packet, v6: &dyn Fn() -> Packet) -> Vec<(&'static str, Packet, usize)> {
    let tcp = 14;
    vec![
        ("plain v4", v4(), 14 + 20 + tcp),
        ("plain v6", v6(), 14 + 40 + tcp),
        ("v4 options", v4().options(3), 14 + 32 + tcp),
        ("most v4 options", v4().options(10), 14 + 60 + tcp),
        ("vlan", v4().vlan(5), 18 + 20 + tcp),
        ("two tags", v4().provider_vlan(9).vlan(5), 22 + 20 + tcp),
        ("vlan, hop by hop", v6().vlan(5).extension(0, 8), 18 + 48 + tcp),
        ("hop by hop", v6().extension(0, 8), 14 + 48 + tcp),
        ("routing", v6().extension(43, 24), 14 + 64 + tcp),
        ("destination options", v6().extension(60, 16), 14 + 56 + tcp),
        ("authentication", v6().extension(51, 24), 14 + 64 + tcp),
        (
            "many extensions",
            v6().extension(0, 8)
                .extension(60, 8)
                .extension(43, 8)
                .extension(51, 16),
            14 + 80 + tcp,
        ),
        ("whole fragment", v6().fragment(0, false), 14 + 48 + tcp),
        ("data in the SYN", v4().payload(*b"fast open"), 14 + 20 + tcp),
        // The ports suffice where a tiny first fragment hides the flags: they are taken for a SYN's.
        ("first fragment v4", v4().fragment(0, true), 14 + 20 + 4),
        ("first fragment v6", v6().fragment(0, true), 14 + 48 + 4),
    ]
}

/// The kernel runs nothing on less than the headers that it knows itself.
fn shortest(bytes: &[u8]) -> usize {
    match bytes[12..14] {
        [0x08, 0x00] => 14 + 20,
        [0x86, 0xdd] => 14 + 40,
        _ => 14 + 1,
    }
}

fn check(label: &str, program: &str, shapes: &[(&'static str, Packet, usize)], whole: impl Fn() -> Fate) {
    let mut scene = Scene::new(label);
    for (name, packet, needed) in shapes {
        let bytes = packet.build();
        for length in shortest(&bytes)..=bytes.len() {
            let expected = if length < *needed {
                Fate::goes_on()
            } else {
                whole()
            };
            let fate = scene.judge_bytes(program, &bytes[..length], 0);
            assert_eq!(fate, expected, "{name}, {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn pod_out_finds_connections_in_every_shape() {
    let v4 = || packet("10.1.0.5:40000", "10.2.0.9:80");
    let v6 = || packet("[fd01::5]:40000", "[fd02::9]:80");
    check("shapes_out", "weir_pod_out", &shapes(&v4, &v6), || {
        Fate::redirected(ZTUNNEL_MAC, tag(1)).counted("outbound")
    });
}

#[test]
fn pod_in_finds_connections_in_every_shape() {
    let v4 = || packet("10.2.0.9:50000", "10.1.0.5:80");
    let v6 = || packet("[fd02::9]:50000", "[fd01::5]:80");
    check("shapes_in", "weir_pod_in", &shapes(&v4, &v6), || {
        Fate::redirected(ZTUNNEL_MAC, tag(2))
            .mark(mark::TAGGED)
            .counted("inbound")
    });
}

#[test]
fn ztunnel_out_finds_connections_in_every_shape() {
    let v4 = || packet("10.1.0.5:40000", "10.2.0.9:80");
    let v6 = || packet("[fd01::5]:40000", "[fd02::9]:80");
    check("shapes_zout", "weir_ztunnel_out", &shapes(&v4, &v6), || {
        Fate::redirected(GATEWAY, POD_MAC)
            .mark(mark::BYPASS)
            .counted("from_ztunnel")
    });
}

#[test]
fn steer_out_finds_connections_in_every_shape() {
    let v4 = || packet("10.1.0.5:40000", "10.2.0.9:80");
    let v6 = || packet("[fd01::5]:40000", "[fd02::9]:80");
    check("shapes_sout", "weir_steer_out", &shapes(&v4, &v6), || {
        Fate {
            verdict: GO_ON,
            ..Fate::redirected(STEERED_MAC, tag(1))
        }
        .counted("outbound")
    });
}

#[test]
fn steer_in_finds_connections_in_every_shape() {
    let v4 = || packet("10.2.0.9:50000", "10.1.0.5:80");
    let v6 = || packet("[fd02::9]:50000", "[fd01::5]:80");
    check("shapes_sin", "weir_steer_in", &shapes(&v4, &v6), || {
        Fate::redirected(STEERED_MAC, tag(2)).counted("inbound")
    });
}

#[test]
fn what_is_no_tcp_or_malformed_goes_on() {
    let mut scene = Scene::new("shapes_others");
    let v4 = || packet("10.1.0.5:40000", "10.2.0.9:80");
    let v6 = || packet("[fd01::5]:40000", "[fd02::9]:80");
    let with_byte = |packet: Packet, at: usize, byte: u8| {
        let mut bytes = packet.build();
        bytes[at] = byte;
        bytes
    };
    for (name, bytes) in [
        ("UDP", v4().protocol(17).build()),
        ("UDP v6", v6().protocol(17).build()),
        ("ESP", v6().protocol(50).build()),
        ("no next header", v6().extension(0, 8).protocol(59).build()),
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
        for program in [
            "weir_pod_out",
            "weir_pod_in",
            "weir_ztunnel_out",
            "weir_ztunnel_in",
            "weir_ztunnel_gate",
            "weir_steer_out",
            "weir_steer_in",
            "weir_steer_back",
            "weir_steer_fence",
        ] {
            let fate = scene.judge_bytes(program, &bytes, 0);
            assert_eq!(fate.verdict, GO_ON, "{program}: {name}");
            assert_eq!(fate, Fate::goes_on(), "{program}: {name}");
        }
    }
}
