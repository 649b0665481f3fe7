//! Headers of every shape, whole and cut off at every byte.

use weir_common::local_pod::LocalPod;
use weir_common::mark;
use weir_testbeds::packet::Packet;

use crate::scene::{
    Fate, GATEWAY, GO_ON, POD_MAC, POD_V4, POD_V6, STEERED_MAC, Scene, ZTUNNEL_MAC, from_mac, packet, tag,
};

/// A packet, and how many bytes of it must be there.
struct Shape {
    name: &'static str,
    packet: Packet,
    /// To tell whose it is, and that it is TCP.
    datagram: usize,
    /// To tell which connection it belongs to.
    segment: usize,
}

/// Every shape of header.
fn shapes(v4: &dyn Fn() -> Packet, v6: &dyn Fn() -> Packet) -> Vec<Shape> {
    let tcp = 14;
    // Of the last extension header the beginning suffices to know what comes after it.
    let extended = |before: usize| 14 + 40 + before + 4;
    let many = v6()
        .extension(0, 8)
        .extension(60, 8)
        .extension(43, 8)
        .extension(51, 16);
    // The stack that takes the packet looks at the length; a lie about it gets nothing past a program.
    let lies = v4()
        .of_wrong_lengths()
        .map(|(name, packet)| (name, packet, 34, 34 + tcp));
    let lies_v6 = v6()
        .of_wrong_lengths()
        .map(|(name, packet)| (name, packet, 54, 54 + tcp));
    [
        ("plain v4", v4(), 34, 34 + tcp),
        ("plain v6", v6(), 54, 54 + tcp),
        ("v4 options", v4().options(3), 34, 14 + 32 + tcp),
        ("most v4 options", v4().options(10), 34, 14 + 60 + tcp),
        ("vlan", v4().vlan(5), 38, 38 + tcp),
        ("two tags", v4().provider_vlan(9).vlan(5), 42, 42 + tcp),
        (
            "vlan, hop by hop",
            v6().vlan(5).extension(0, 8),
            extended(4),
            18 + 48 + tcp,
        ),
        ("hop by hop", v6().extension(0, 8), extended(0), 14 + 48 + tcp),
        ("routing", v6().extension(43, 24), extended(0), 14 + 64 + tcp),
        (
            "destination options",
            v6().extension(60, 16),
            extended(0),
            14 + 56 + tcp,
        ),
        (
            "authentication",
            v6().extension(51, 24),
            extended(0),
            14 + 64 + tcp,
        ),
        ("many extensions", many, extended(24), 14 + 80 + tcp),
        (
            "whole fragment",
            v6().fragment(0, false),
            extended(0),
            14 + 48 + tcp,
        ),
        ("data in the SYN", v4().payload(*b"fast open"), 34, 34 + tcp),
        // The ports suffice where a tiny first fragment hides the flags: they are taken for a SYN's.
        ("first fragment v4", v4().fragment(0, true), 34, 34 + 4),
        (
            "first fragment v6",
            v6().fragment(0, true),
            extended(0),
            14 + 48 + 4,
        ),
    ]
    .into_iter()
    .chain(lies)
    .chain(lies_v6)
    .map(|(name, packet, datagram, segment)| Shape {
        name,
        packet,
        datagram,
        segment,
    })
    .collect()
}

/// The kernel runs nothing on less than the headers that it knows itself.
fn shortest(bytes: &[u8]) -> usize {
    match bytes[12..14] {
        [0x08, 0x00] => 14 + 20,
        [0x86, 0xdd] => 14 + 40,
        _ => 14 + 1,
    }
}

fn check(label: &str, program: &str, shapes: &[Shape], whole: impl Fn() -> Fate) {
    check_parts(&mut Scene::new(label), program, shapes, |part| match part {
        Part::Segment => whole(),
        Part::Datagram | Part::Cut => Fate::goes_on(),
    });
}

/// How much of a packet is there.
enum Part {
    Cut,
    Datagram,
    Segment,
}

fn check_parts(scene: &mut Scene, program: &str, shapes: &[Shape], expected: impl Fn(Part) -> Fate) {
    for shape in shapes {
        let bytes = shape.packet.build();
        for length in shortest(&bytes)..=bytes.len() {
            let part = match length {
                _ if length >= shape.segment => Part::Segment,
                _ if length >= shape.datagram => Part::Datagram,
                _ => Part::Cut,
            };
            let fate = scene.judge_bytes(program, &bytes[..length], 0);
            let name = shape.name;
            assert_eq!(fate, expected(part), "{name}, {length} of {} bytes", bytes.len());
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

/// The pod's packet and one to the pod, of a family, with this source address on the link.
fn both_ways(v6: bool, source: [u8; 6]) -> [Packet; 2] {
    let (pod, peer) = if v6 {
        ("[fd01::5]:40000", "[fd02::9]:80")
    } else {
        ("10.1.0.5:40000", "10.2.0.9:80")
    };
    [packet(pod, peer), packet(peer, pod)].map(|packet| from_mac(packet, source))
}

/// The test's own netns has no listener of ztunnel: what has been found is refused for that.
#[test]
fn ztunnel_in_finds_connections_in_every_shape() {
    let mut scene = Scene::new("shapes_zin");
    for (way, direction) in [(0, 1), (1, 2)] {
        let of = |v6| both_ways(v6, tag(direction))[way].clone();
        let shapes = shapes(&|| of(false), &|| of(true));
        check_parts(&mut scene, "weir_ztunnel_in", &shapes, |part| match part {
            Part::Cut => Fate::dropped("forged_tag"),
            Part::Datagram => Fate::goes_on().mark(mark::TO_ZTUNNEL),
            Part::Segment => Fate::dropped("no_listener"),
        });
        let other = [2, 10, direction, 1, 2, 3];
        for packet in [false, true].map(|v6| both_ways(v6, other)[way].clone()) {
            let bytes = packet.build();
            for length in shortest(&bytes)..=bytes.len() {
                let fate = scene.judge_bytes("weir_ztunnel_in", &bytes[..length], 0);
                assert_eq!(
                    fate,
                    Fate::dropped("forged_tag"),
                    "another node's, {length} bytes"
                );
            }
        }
    }
}

/// What is tagged is stopped however little of it there is, unless it was tagged here.
#[test]
fn the_gate_and_the_fence_stop_tags_in_every_shape() {
    let mut scene = Scene::new("shapes_gate");
    let of = |v6| both_ways(v6, tag(1))[0].clone();
    let shapes = shapes(&|| of(false), &|| of(true));
    let stopped = |reason| move |_: Part| Fate::dropped(reason);
    check_parts(&mut scene, "weir_ztunnel_gate", &shapes, stopped("forged_tag"));
    check_parts(&mut scene, "weir_steer_fence", &shapes, stopped("fenced"));
    for shape in shapes {
        let bytes = shape.packet.build();
        for length in shortest(&bytes)..=bytes.len() {
            let fate = scene.judge_bytes("weir_ztunnel_gate", &bytes[..length], mark::TAGGED);
            assert_eq!(fate, Fate::goes_on().mark(mark::TAGGED), "{}", shape.name);
        }
    }
}

#[test]
fn steer_back_finds_connections_in_every_shape() {
    let mut scene = Scene::new("shapes_sback");
    for address in [POD_V4, POD_V6] {
        scene.set_local(address, |pod| pod.flags = LocalPod::STEERED);
    }
    let of = |v6| both_ways(v6, STEERED_MAC)[1].clone();
    let shapes = shapes(&|| of(false), &|| of(true));
    let entered = || Fate {
        verdict: GO_ON,
        ..Fate::redirected(POD_MAC, tag(3))
    };
    check_parts(&mut scene, "weir_steer_back", &shapes, |part| match part {
        Part::Cut => Fate::goes_on(),
        Part::Datagram => entered(),
        Part::Segment => entered().counted("to_application"),
    });
}

/// Between two pods of the node, to ztunnel's port; one is as far away as it has to be for the program.
fn tunnels(source: [u8; 6]) -> Vec<Shape> {
    let of = |pod: &str, other: &str| from_mac(packet(pod, other), source);
    shapes(&|| of("10.1.0.5:40000", "10.1.0.6:15008"), &|| {
        of("[fd01::5]:40000", "[fd01::6]:15008")
    })
}

#[test]
fn what_enters_a_pod_and_what_is_turned_back_is_found_in_every_shape() {
    let mut scene = Scene::new("shapes_enter");
    let whole = |whole: Fate| {
        move |part: Part| match part {
            Part::Segment => Fate {
                counted: whole.counted.clone(),
                ..whole
            },
            Part::Datagram | Part::Cut => Fate::goes_on(),
        }
    };
    let of = |v6| both_ways(v6, [2, 0, 0, 0, 0, 2])[1].clone();
    let entered = Fate::redirected(POD_MAC, GATEWAY).counted("to_application");
    let into = shapes(&|| of(false), &|| of(true));
    check_parts(&mut scene, "weir_ztunnel_out", &into, whole(entered));
    let turned = |mark| {
        Fate::redirected(ZTUNNEL_MAC, tag(2))
            .mark(mark)
            .counted("hairpin")
    };
    let own = tunnels(ZTUNNEL_MAC);
    check_parts(&mut scene, "weir_ztunnel_out", &own, whole(turned(mark::TAGGED)));
    check_parts(&mut scene, "weir_steer_back", &own, whole(turned(0)));
}

/// However little of it there is, and whatever it says.
#[test]
fn at_a_pods_own_interface_a_forged_tag_is_stopped_in_every_shape() {
    let mut scene = Scene::new("shapes_tagged");
    let of = |v6, source| both_ways(v6, source)[1].clone();
    let tagged = |source| shapes(&|| of(false, source), &|| of(true, source));
    let forged = |_: Part| Fate::dropped("forged_tag");
    for source in [tag(1), tag(2), [2, 10, 3, 1, 2, 3]] {
        check_parts(&mut scene, "weir_steer_in", &tagged(source), forged);
    }
    check_parts(&mut scene, "weir_steer_in", &tagged(tag(3)), |_| Fate::goes_on());
    for source in [tag(1), tag(2), tag(3), [2, 10, 2, 1, 2, 3]] {
        check_parts(&mut scene, "weir_steer_out", &tagged(source), forged);
    }
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
        // Tagged it is the same to ztunnel's side, unless it is not even IP.
        let mut tagged = bytes;
        tagged[6..12].copy_from_slice(&tag(1));
        let expected = match name {
            "UDP" | "UDP v6" | "ESP" | "no next header" => Fate::goes_on().mark(mark::TO_ZTUNNEL),
            _ => Fate::dropped("forged_tag"),
        };
        let fate = scene.judge_bytes("weir_ztunnel_in", &tagged, 0);
        assert_eq!(fate, expected, "weir_ztunnel_in: {name}");
    }
}
