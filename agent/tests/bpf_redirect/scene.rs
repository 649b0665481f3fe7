//! Two pods of the node, ztunnel, and a stranger; the programs, loaded.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use aya::maps::{Array, Map, MapData};
use aya::programs::SchedClassifier;
use aya::{Ebpf, EbpfLoader};
use std::os::fd::AsFd as _;
use weir_agent::datapath::Maps;
use weir_agent::datapath::counters::{self, Counts};
use weir_agent::datapath::object;
use weir_agent::datapath::sys::{TestInput, TestRun, prog_test_run};
use weir_common::address::Address;
use weir_common::filter::{self, EXCLUDE, PortRule};
use weir_common::flow::{Decided, Ends};
use weir_common::local_pod::LocalPod;
use weir_common::names::map;
use weir_common::node::NodeSettings;
use weir_common::pod::{COOKIE_PLACEHOLDER, PodEntry};
use weir_common::ztunnel::{NodeContract, SLOTS, ZtunnelPlace};
use weir_testbeds::mac::Mac;
use weir_testbeds::packet::Packet;

use crate::own_datapath::OwnDatapath;

/// Netns cookies.
pub const POD: u64 = 77;
pub const OTHER: u64 = 78;
pub const ZTUNNEL: u64 = 90;
/// The interface that programs run at in a test run: the kernel takes loopback unless told otherwise.
pub const HERE: u32 = 1;
const ELSEWHERE: u32 = 4000;
/// Slot of the ztunnel that has what nothing is remembered of.
const IMPLIED: u8 = 1;

pub const SECRET: [u8; 3] = [0xa1, 0xb2, 0xc3];
pub const POD_MAC: [u8; 6] = [2, 0, 0, 0, 1, 5];
pub const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 1, 6];
pub const GATEWAY: [u8; 6] = [0xee; 6];
pub const ZTUNNEL_MAC: [u8; 6] = [2, 0, 0, 0, 9, 9];
/// Of its interface beside those of pods that are reached by such addresses.
pub const STEERED_MAC: [u8; 6] = [2, 0, 0, 0, 7, 9];
pub const OLD_ZTUNNEL_MAC: [u8; 6] = [2, 0, 0, 0, 9, 8];

pub const POD_V4: &str = "10.1.0.5";
pub const POD_V6: &str = "fd01::5";
pub const OTHER_V4: &str = "10.1.0.6";
pub const OTHER_V6: &str = "fd01::6";
pub const ZTUNNEL_V4: &str = "10.1.0.9";

pub const GO_ON: u32 = u32::MAX;
pub const DROP: u32 = 2;
pub const REDIRECT: u32 = 7;

/// A packet's fate.
#[derive(Debug, PartialEq, Eq)]
pub struct Fate {
    pub verdict: u32,
    /// Its Ethernet addresses, destination first, if they have been changed.
    pub frame: Option<([u8; 6], [u8; 6])>,
    pub mark: u32,
    pub counted: Vec<&'static str>,
}

impl Fate {
    pub fn goes_on() -> Self {
        Self {
            verdict: GO_ON,
            frame: None,
            mark: 0,
            counted: Vec::new(),
        }
    }

    pub fn dropped(reason: &'static str) -> Self {
        Self {
            verdict: DROP,
            ..Self::goes_on()
        }
        .counted(reason)
    }

    pub fn redirected(destination: [u8; 6], source: [u8; 6]) -> Self {
        Self {
            verdict: REDIRECT,
            frame: Some((destination, source)),
            ..Self::goes_on()
        }
    }

    pub fn counted(mut self, reason: &'static str) -> Self {
        self.counted.push(reason);
        self
    }

    pub fn mark(mut self, mark: u32) -> Self {
        self.mark = mark;
        self
    }
}

pub struct Scene {
    pub own: OwnDatapath,
    /// Those of the node contract too, which the datapath itself has not made.
    pub maps: Maps,
    object: Ebpf,
}

pub fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

/// A SYN; further words make it something else.
pub fn packet(source: &str, destination: &str) -> Packet {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    Packet::syn(source, destination)
}

/// The tag in this node's frames.
pub fn tag(direction: u8) -> [u8; 6] {
    [2, 10, direction, SECRET[0], SECRET[1], SECRET[2]]
}

impl Scene {
    pub fn new(label: &str) -> Self {
        let own = OwnDatapath::new(label);
        own.set_flags(NodeSettings::PROBE_BY_ANY_HOST_PROCESS);
        let object = load(&own);
        let maps = Maps::adopt(own.datapath.pins());
        let scene = Self { own, maps, object };
        scene.set_pod(PodEntry::REDIRECTING | PodEntry::OUTBOUND_FILTER | PodEntry::INBOUND_FILTER);
        let maps = &scene.maps;
        maps.host_interfaces().unwrap().insert(HERE, POD, 0).unwrap();
        let pod = |netns, interface, mac, flags| LocalPod {
            netns,
            interface,
            flags,
            mac,
            gateway: GATEWAY,
            reserved: 0,
        };
        let mut pods = maps.local_pods().unwrap();
        for (text, entry) in [
            (POD_V4, pod(POD, HERE, POD_MAC, 0)),
            (POD_V6, pod(POD, HERE, POD_MAC, 0)),
            (OTHER_V4, pod(OTHER, ELSEWHERE, OTHER_MAC, 0)),
            (OTHER_V6, pod(OTHER, ELSEWHERE, OTHER_MAC, 0)),
            (ZTUNNEL_V4, pod(ZTUNNEL, HERE, ZTUNNEL_MAC, LocalPod::ZTUNNEL)),
        ] {
            pods.insert(address(text), entry, 0).unwrap();
        }
        for (port, direction) in [(3306, filter::OUTBOUND), (9100, filter::INBOUND)] {
            let rule = PortRule {
                netns: POD,
                direction,
                port,
                reserved: 0,
            };
            maps.port_rules().unwrap().insert(rule, EXCLUDE, 0).unwrap();
        }
        let place = |interface, mac, steered| ZtunnelPlace {
            netns: ZTUNNEL,
            interface,
            mac,
            steered,
        };
        let mut places = maps.places().unwrap();
        places
            .set(0, place(ELSEWHERE, OLD_ZTUNNEL_MAC, [0; 6]), 0)
            .unwrap();
        places.set(1, place(HERE, ZTUNNEL_MAC, STEERED_MAC), 0).unwrap();
        scene.set_contract(1, 0);
        scene
    }

    pub fn set_pod(&self, flags: u32) {
        self.set_pod_of(POD, flags);
    }

    pub fn set_pod_of(&self, netns: u64, flags: u32) {
        let entry = PodEntry { flags, sysctls: 0 };
        let maps = &self.maps;
        maps.set_pod(netns, entry.into()).unwrap();
        maps.begin_era().unwrap();
    }

    /// The ztunnel in this slot is gone.
    pub fn vacate(&self, slot: u32) {
        let mut places = self.maps.places().unwrap();
        places.set(slot, ZtunnelPlace::default(), 0).unwrap();
    }

    pub fn set_contract(&self, current: u32, flags: u32) {
        self.set_implied(IMPLIED, current, flags);
    }

    /// This ztunnel has the connections of which nothing is remembered.
    pub fn set_implied(&self, implied: u8, current: u32, flags: u32) {
        let contract = NodeContract {
            current,
            flags,
            secret: SECRET,
            implied,
        };
        self.maps.contract().unwrap().set(0, contract, 0).unwrap();
    }

    /// None takes new connections, and none has old ones.
    pub fn without_ztunnel(&self, flags: u32) {
        self.vacate(IMPLIED.into());
        self.set_contract(SLOTS, flags);
    }

    /// Takes an address from whoever has it.
    pub fn take_address(&self, text: &str) {
        let maps = &self.maps;
        maps.local_pods().unwrap().remove(&address(text)).unwrap();
        maps.begin_era().unwrap();
    }

    /// Gives an address to the pod.
    pub fn set_address(&self, text: &str) {
        let mut pods = self.maps.local_pods().unwrap();
        let entry = pods.get(&address(POD_V4), 0).unwrap();
        pods.insert(address(text), entry, 0).unwrap();
        self.maps.begin_era().unwrap();
    }

    /// The interface that programs run at leads to this pod.
    pub fn set_pod_here(&self, netns: u64) {
        let maps = &self.maps;
        maps.host_interfaces().unwrap().insert(HERE, netns, 0).unwrap();
        maps.begin_era().unwrap();
    }

    pub fn set_local(&self, text: &str, change: impl FnOnce(&mut LocalPod)) {
        let mut pods = self.maps.local_pods().unwrap();
        let mut entry = pods.get(&address(text), 0).unwrap();
        change(&mut entry);
        pods.insert(address(text), entry, 0).unwrap();
        self.maps.begin_era().unwrap();
    }

    /// What has been decided for the connection of a pod.
    pub fn decided(&self, netns: u64, peer: &str, pod: &str) -> Option<Decided> {
        let flows = self.maps.flows().unwrap();
        let decided = flows.get(&ends(peer, pod), 0).ok();
        decided.filter(|decided| decided.netns == netns)
    }

    pub fn decide(&self, netns: u64, peer: &str, pod: &str, what: u32, ztunnel: u32) {
        let decided = Decided { what, ztunnel, netns };
        let maps = &self.maps;
        maps.remember([ends(peer, pod)], decided).unwrap();
    }

    /// Words of all pairs of addresses.
    pub fn pairs(&self) -> Array<MapData, u32> {
        let pin = self.own.datapath.pins().map(map::PAIRS);
        Map::Array(MapData::from_pin(pin).unwrap()).try_into().unwrap()
    }

    pub fn judge(&mut self, program: &str, packet: &Packet) -> Fate {
        self.judge_bytes(program, &packet.build(), 0)
    }

    /// Runs the program; bytes other than the Ethernet addresses must stay as they are.
    pub fn judge_bytes(&mut self, program: &str, bytes: &[u8], mark: u32) -> Fate {
        self.judge_from(program, bytes, mark, 0)
    }

    /// Runs the program on a packet that came in by this interface; 0 is none.
    pub fn judge_from(&mut self, program: &str, bytes: &[u8], mark: u32, came_by: u32) -> Fate {
        let before = self.counts();
        let run = self.run(program, bytes, mark, came_by);
        assert_eq!(run.packet.len(), bytes.len());
        assert_eq!(
            run.packet[12..],
            bytes[12..],
            "more than the Ethernet addresses has changed"
        );
        let mac = |at: usize| <[u8; 6]>::try_from(&run.packet[at..at + 6]).unwrap();
        let counted = self.counts().into_iter().flat_map(|(reason, count)| {
            let times = count - before.get(reason).copied().unwrap_or(0);
            std::iter::repeat_n(reason, times as usize)
        });
        Fate {
            verdict: run.verdict,
            frame: (run.packet[..12] != bytes[..12]).then(|| (mac(0), mac(6))),
            mark: u32::from_ne_bytes(run.context[8..12].try_into().unwrap()),
            counted: counted.collect(),
        }
    }

    /// The Ethernet address that the program gives a packet of a connection that has begun; quicker than to judge it.
    pub fn addressed_to(&mut self, program: &str, packet: &Packet) -> [u8; 6] {
        let run = self.run(program, &packet.build(), 0, 0);
        run.packet[..6].try_into().unwrap()
    }

    fn run(&mut self, program: &str, bytes: &[u8], mark: u32, came_by: u32) -> TestRun {
        let program: &mut SchedClassifier = self.object.program_mut(program).unwrap().try_into().unwrap();
        if program.fd().is_err() {
            program.load().unwrap();
        }
        let mut context = [0; 192];
        context[8..12].copy_from_slice(&mark.to_ne_bytes());
        context[36..40].copy_from_slice(&came_by.to_ne_bytes());
        let input = TestInput {
            packet: bytes,
            context: &context,
            repeat: 0,
        };
        prog_test_run(program.fd().unwrap().as_fd(), &input).unwrap()
    }

    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut all = Counts::default();
        for counts in counters::by_pod(&self.maps).unwrap().values() {
            all.merge(counts);
        }
        all.iter().map(|(reason, count)| (reason.name(), count)).collect()
    }
}

fn load(own: &OwnDatapath) -> Ebpf {
    let mut loader = EbpfLoader::new();
    for name in map::ALL.into_iter().chain(map::OF_REDIRECT) {
        loader.map_pin_path(name, own.datapath.pins().map(name));
    }
    // As it is loaded for a pod: the other programs do not care.
    let placeholder = COOKIE_PLACEHOLDER.to_ne_bytes();
    let mut object = object::REDIRECT.to_vec();
    let place = object.windows(8).position(|bytes| bytes == placeholder).unwrap();
    object[place..place + 8].copy_from_slice(&POD.to_ne_bytes());
    loader.load(&object).unwrap()
}

pub fn ends(peer: &str, pod: &str) -> Ends {
    let (peer, pod): (SocketAddr, SocketAddr) = (peer.parse().unwrap(), pod.parse().unwrap());
    Ends {
        peer: peer.ip().into(),
        pod: pod.ip().into(),
        peer_port: peer.port(),
        pod_port: pod.port(),
    }
}

/// The packet in a frame with this source address.
pub fn from_mac(packet: Packet, source: [u8; 6]) -> Packet {
    packet.ethernet(Mac(source), Mac([2, 0, 0, 0, 0, 1]))
}
