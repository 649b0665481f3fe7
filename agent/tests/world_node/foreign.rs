//! Programs of a CNI at a pod's interface on the node see what they should: every packet in the pod's name once, and
//! nothing of what goes between the pod and ztunnel.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, OwnedFd};

use weir_agent::datapath::Hook;
use weir_agent::datapath::sys::{
    self, AttachType, Insn, MapSpec, MapType, ProgramSpec, ProgramType, RawMap, Register,
};
use weir_netdetect::facts::Direction;
use weir_testbeds::capture::{Capture, Frame};
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::proxy::{self, ProxyKind};
use weir_testbeds::world::{Wiring, World};

use crate::foreign_programs as foreign;
use crate::scene::{
    assert_captured, assert_direct, builder, by, exchange, of_pod, of_remote, programs, serve,
};

on_every_wiring! {
    foreign_programs_see_what_is_in_the_pods_name_and_nothing_else,
}

/// Bytes of each packet that are kept: up to the ports in either family.
const KEPT: i16 = 58;
/// On the stack, whose slots have eight bytes.
const PLACE: i16 = -64;
const KEY: i16 = -72;
const LOAD_BYTES: i32 = 26;
const UPDATE: i32 = 2;
const NANOSECONDS: i32 = 5;
const GO_ON: i32 = -1;
const TCP: u8 = 6;
const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];
/// A priority after that of our filters.
const LATE: u16 = 7;

/// A program that keeps the beginning of each packet, under the time.
struct Watcher {
    packets: RawMap,
    _link: Option<OwnedFd>,
}

impl Watcher {
    /// Watches one direction of a pod's interface, after all others.
    fn at(mesh: &Mesh, pod: &str, direction: Direction, hook: Hook) -> Self {
        let packets = sys::map_create(&MapSpec {
            kind: MapType::HASH,
            key_size: 8,
            value_size: 64,
            max_entries: 4096,
            name: "cali_seen",
        })
        .unwrap();
        let program = sys::prog_load(&ProgramSpec {
            kind: ProgramType::SCHED_CLS,
            attach: None,
            insns: &keeping(&packets),
            license: c"GPL",
            name: "cali_watch",
        })
        .unwrap();
        let node = &mesh.world.node.netns;
        let index = index(&mesh.world, pod);
        let link = match hook {
            Hook::Tcx => Some(foreign::attach_tcx(node, index, &program, at(direction))),
            Hook::Clsact => {
                let watch = (&program, "cali_watch");
                foreign::attach_clsact(node, index, watch, direction, LATE);
                None
            }
        };
        Self {
            packets: RawMap::new(packets).unwrap(),
            _link: link,
        }
    }

    fn both(mesh: &Mesh, pod: &str, hook: Hook) -> [Self; 2] {
        BOTH.map(|direction| Self::at(mesh, pod, direction, hook))
    }

    /// How many TCP packets went from one address to another.
    fn seen(&self) -> BTreeMap<(IpAddr, IpAddr), usize> {
        let mut seen = BTreeMap::new();
        let mut key = self.packets.next_key(None).unwrap();
        while let Some(at) = key {
            if let Some(pair) = self
                .packets
                .lookup(&at)
                .unwrap()
                .and_then(|bytes| addresses(&bytes))
            {
                *seen.entry(pair).or_default() += 1;
            }
            key = self.packets.next_key(Some(&at)).unwrap();
        }
        seen
    }
}

const fn at(direction: Direction) -> AttachType {
    match direction {
        Direction::Ingress => AttachType::TCX_INGRESS,
        Direction::Egress => AttachType::TCX_EGRESS,
    }
}

/// The index of a pod's interface on the node.
fn index(world: &World, pod: &str) -> u32 {
    let name = world.pod(pod).host_interface().unwrap();
    let node = &world.node.netns;
    let interface = node.netlink(async |netlink| netlink.interface(name).await);
    interface.unwrap().index
}

fn keeping(packets: &OwnedFd) -> Vec<Insn> {
    let stack = |offset: i16| {
        move |register| {
            [
                Insn::copy(register, Register::R10),
                Insn::add(register, offset.into()),
            ]
        }
    };
    let (place, key) = (stack(PLACE), stack(KEY));
    let mut program = vec![Insn::copy(Register::R6, Register::R1)];
    program.extend((0..8).map(|slot| Insn::store64(Register::R10, PLACE + slot * 8, 0)));
    program.push(Insn::set(Register::R2, 0));
    program.extend(place(Register::R3));
    program.extend([Insn::set(Register::R4, KEPT.into()), Insn::call(LOAD_BYTES)]);
    program.extend([
        Insn::call(NANOSECONDS),
        Insn::store64(Register::R10, KEY, 0),
        Insn::store32_from(Register::R10, KEY, Register::R0),
    ]);
    program.extend(Insn::load_map(Register::R1, packets.as_fd()));
    program.extend(key(Register::R2));
    program.extend(place(Register::R3));
    program.extend([Insn::set(Register::R4, 0), Insn::call(UPDATE)]);
    program.extend([Insn::set(Register::R0, GO_ON), Insn::exit()]);
    program
}

fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let v4 = |at: usize| IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap()));
    let v6 = |at: usize| {
        IpAddr::V6(Ipv6Addr::from(
            <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap(),
        ))
    };
    match (&packet[12..14], packet[23], packet[20]) {
        ([0x08, 0x00], TCP, _) => Some((v4(26), v4(30))),
        ([0x86, 0xdd], _, TCP) => Some((v6(22), v6(38))),
        _ => None,
    }
}

/// The TCP packets on the node's uplink, once both ends have said that they have ended.
fn on_uplink(uplink: &Capture, connections: usize) -> BTreeMap<(IpAddr, IpAddr), usize> {
    let is_end = |frame: &&Frame| frame.tcp.is_some_and(|tcp| tcp.flags.fin);
    let over = |frames: &[Frame]| frames.iter().filter(is_end).count() >= 2 * connections;
    uplink.settle(PATIENCE, over).unwrap();
    let mut seen = BTreeMap::new();
    for frame in uplink.frames().iter().filter(|frame| frame.tcp.is_some()) {
        *seen.entry(frame.ip.unwrap()).or_default() += 1;
    }
    seen
}

fn foreign_programs_see_what_is_in_the_pods_name_and_nothing_else(wiring: Wiring) {
    let better = Hook::of_this_kernel();
    see_what_is_in_the_pods_name_and_nothing_else(wiring, better, better);
}

#[test]
fn foreign_filters_see_what_is_in_the_pods_name_beside_links_and_beside_filters() {
    for ours in [Hook::of_this_kernel(), Hook::Clsact] {
        see_what_is_in_the_pods_name_and_nothing_else(Wiring::PointToPoint, ours, Hook::Clsact);
    }
}

fn see_what_is_in_the_pods_name_and_nothing_else(wiring: Wiring, ours: Hook, theirs: Hook) {
    let kind = ProxyKind::stand_in().unwrap();
    let builder = builder("node-foreign", wiring).flag(&by(ours));
    let mesh = builder.proxy_kind(kind).start().unwrap();
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("client").netns);
    let to = of_remote(&mesh);
    for (pod, captured) in [("client", true), ("plain", false)] {
        let [out, inward] = Watcher::both(&mesh, pod, theirs);
        let uplink = Capture::start(&mesh.world.node.netns, &mesh.world.node.interface).unwrap();
        for to in &to {
            let seen = exchange(&mesh.pod(pod).netns, *to);
            if captured {
                assert_captured(&mesh, proxy::Direction::Outbound, &seen);
            } else {
                assert_direct(&seen);
            }
        }
        let own: Vec<IpAddr> = mesh.pod(pod).addresses().iter().collect();
        let both = || {
            let wire = on_uplink(&uplink, to.len());
            let (mut sent, mut got) = (wire.clone(), wire);
            sent.retain(|(source, _), _| own.contains(source));
            got.retain(|(_, destination), _| own.contains(destination));
            // What comes is for ztunnel, and is handed to it before anybody else's program.
            let got = if captured { BTreeMap::new() } else { got };
            ((out.seen(), inward.seen()), (sent, got))
        };
        let same = eventually(PATIENCE, || {
            let (seen, wire) = both();
            (seen == wire).then_some(())
        });
        same.unwrap_or_else(|late| panic!("{pod}: {late}: {:#?}", both()));
        let ((sent, _), _) = both();
        assert_eq!(sent.len(), to.len(), "{pod}: one of each family");
    }
    // A probe goes past ztunnel, and so by everybody's programs.
    let [out, inward] = Watcher::both(&mesh, "client", theirs);
    for to in of_pod(&mesh, "client") {
        assert_direct(&exchange(&mesh.world.node.netns, to));
    }
    assert_eq!((out.seen().len(), inward.seen().len()), (2, 2));
}

/// One filter of theirs was there before any of ours, one came afterwards, at the same priority as ours or a later one.
#[test]
fn foreign_filters_keep_their_order_and_stay_when_ours_come_and_go() {
    let builder = builder("node-filters", Wiring::PointToPoint).flag(&by(Hook::Clsact));
    let world = builder.world().unwrap();
    let (node, index) = (world.node.netns.clone(), index(&world, "client"));
    let attach = |name: &str, priority: u16| {
        let program = foreign::load(name);
        for direction in BOTH {
            foreign::attach_clsact(&node, index, (&program, name), direction, priority);
        }
    };
    attach("cali_early", 1);
    attach("cali_late", LATE);
    let mesh = builder.start_in(world).unwrap();
    attach("cali_later", LATE + 1);
    assert_theirs_stay_behind_ours(mesh, &["cali_early", "cali_late", "cali_later"]);
}

/// The same of links, which kernels before 6.6 do not have.
#[test]
fn foreign_links_come_after_ours_and_stay_when_ours_come_and_go() {
    if Hook::of_this_kernel() == Hook::Clsact {
        return;
    }
    let builder = builder("node-links", Wiring::PointToPoint);
    let world = builder.world().unwrap();
    let (node, index) = (world.node.netns.clone(), index(&world, "client"));
    let attach = |name: &str| {
        let program = foreign::load(name);
        BOTH.map(|direction| foreign::attach_tcx(&node, index, &program, at(direction)))
    };
    let _early = attach("cali_early");
    let mesh = builder.start_in(world).unwrap();
    let _late = attach("cali_late");
    assert_theirs_stay_behind_ours(mesh, &["cali_early", "cali_late"]);
}

/// An agent that is killed, one that adopts what is there, and a pod that leaves the mesh.
fn assert_theirs_stay_behind_ours(mut mesh: Mesh, theirs: &[&str]) {
    let all = |[out, inward]: [&'static str; 2]| {
        let of = |direction, own| {
            let names = [own].into_iter().chain(theirs.iter().copied());
            let there = names.filter(|name| !name.is_empty());
            Vec::from_iter(there.map(|name| (direction, name.to_owned())))
        };
        [of(Direction::Ingress, out), of(Direction::Egress, inward)].concat()
    };
    let with_ours = all(["weir_pod_out", "weir_pod_in"]);
    assert_eq!(programs(&mesh, "client"), with_ours);
    mesh.agent.kill();
    mesh.agent.restart().unwrap();
    mesh.settled().unwrap();
    assert_eq!(programs(&mesh, "client"), with_ours);
    let _server = serve(&mesh.world.remote.netns);
    for to in of_remote(&mesh) {
        let seen = exchange(&mesh.pod("client").netns, to);
        assert_captured(&mesh, proxy::Direction::Outbound, &seen);
    }
    mesh.relabel("client", false).unwrap();
    let alone = all(["", ""]);
    let gone = eventually(PATIENCE, || (programs(&mesh, "client") == alone).then_some(()));
    gone.unwrap_or_else(|late| panic!("{late}: {:?}", programs(&mesh, "client")));
}

#[test]
fn programs_that_do_not_see_what_a_captured_pod_receives_are_told_of() {
    let builder = builder("node-passed", Wiring::PointToPoint);
    let world = builder.world().unwrap();
    for pod in ["client", "plain"] {
        let policy = foreign::load("cali_tc_policy");
        let (node, index) = (&world.node.netns, index(&world, pod));
        foreign::attach_clsact(node, index, (&policy, "cali_tc_policy"), Direction::Egress, LATE);
    }
    let mesh = builder.start_in(world).unwrap();
    let told = |pod| String::from_utf8(mesh.agent.run("status", &[pod]).unwrap().stdout).unwrap();
    // The agent looks at the node while its pods start.
    let warning = "warning: the program cali_tc_policy at the node's end of eth0 does not see";
    eventually(PATIENCE, || told("client").contains(warning).then_some(())).unwrap();
    assert!(!told("plain").contains(warning), "{}", told("plain"));
}
