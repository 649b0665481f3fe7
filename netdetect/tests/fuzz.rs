//! Inputs that nobody thought of: the reader of CNI configuration and the readers of netlink messages take whatever
//! comes without a panic.
//!
//! Valid inputs are changed at random, from a seed that is printed and can be given again (`WEIR_FUZZ_SEED`). Beside other
//! tests this takes a second for each target; `./x test fuzz` gives each a minute (`WEIR_FUZZ_SECONDS`). It needs nothing
//! but the stable toolchain; in exchange nobody looks which code an input reaches.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::env;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use weir_netdetect::choose::{ChoiceConfig, Contract, choose};
use weir_netdetect::cni;
use weir_netdetect::facts::{
    DefaultRoutes, Direction, Interface, KernelFacts, KernelVersion, NetnsId, PodFacts,
};
use weir_netdetect::read::{filter_of, interface_of, route_of, rule_of};
use weir_testbeds::netns::Netns;
use weir_testbeds::world::{Family, Wiring, World};

/// Numbers that look random; the same seed gives the same ones (xorshift, by Marsaglia).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let given = number("WEIR_FUZZ_SEED");
        let now = std::time::UNIX_EPOCH
            .elapsed()
            .map_or(1, |since| since.as_nanos() as u64);
        let seed = given.unwrap_or(now).max(1);
        println!("WEIR_FUZZ_SEED={seed}");
        Self(seed)
    }

    fn throw(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below.max(1) as u64).unwrap()
    }

    /// Changes an input in one to eight places.
    fn spoil(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut spoilt = input.to_vec();
        for _ in 0..=self.throw(8) {
            let at = self.throw(spoilt.len());
            match self.throw(7) {
                0 => spoilt.truncate(at),
                1 => spoilt.insert(at.min(spoilt.len()), self.byte()),
                2 if !spoilt.is_empty() => drop(spoilt.remove(at)),
                3 if !spoilt.is_empty() => spoilt[at] ^= 1 << self.throw(8),
                4 if !spoilt.is_empty() => spoilt[at] = [0, 1, 4, 0x7f, 0x80, 0xff][self.throw(6)],
                5 => {
                    let from = self.throw(other.len());
                    let piece = &other[from..(from + self.throw(32)).min(other.len())];
                    spoilt.splice(at..at, piece.iter().copied());
                }
                _ if !spoilt.is_empty() => spoilt[at] = self.byte(),
                _ => {}
            }
        }
        spoilt
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.throw(256)).unwrap()
    }
}

fn number<T: FromStr>(variable: &str) -> Option<T> {
    env::var(variable).ok()?.parse().ok()
}

/// Tries spoilt inputs until the time is over.
fn fuzz(seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    let end = Instant::now() + Duration::from_secs(number("WEIR_FUZZ_SECONDS").unwrap_or(1));
    let mut dice = Dice::new();
    let mut count = 0_u64;
    while Instant::now() < end {
        for _ in 0..100 {
            let (seed, other) = (dice.throw(seeds.len()), dice.throw(seeds.len()));
            target(&dice.spoil(&seeds[seed], &seeds[other]));
        }
        count += 100;
    }
    println!("{count} inputs");
}

#[test]
fn configuration() {
    let seeds: Vec<Vec<u8>> = [
        r#"{"cniVersion":"1.0.0","name":"k8s","plugins":[{"type":"calico","ipam":{"type":"calico-ipam"}},{"type":"portmap"}]}"#,
        r#"{"type":"multus","name":"m","delegates":[{"name":"d","plugins":[{"type":"flannel","delegate":{"type":"bridge"}}]}]}"#,
        r#"{"type":"macvlan","master":"eth0","mode":"bridge","ipam":{"type":"host-local","ranges":[[{"subnet":"10.0.0.0/8"}]]}}"#,
        r#"{"plugins":[]}"#,
        "[[[[[[[[]]]]]]]]",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    fuzz(&seeds, |input| {
        for name in ["a.conf", "a.conflist"] {
            match cni::parse(Path::new(name), input) {
                Ok(network) => {
                    assert!(!network.plugins.is_empty());
                    assert!(network.all_plugins().all(|plugin| !plugin.kind.is_empty()));
                }
                Err(error) => assert!(error.to_string().contains(name)),
            }
        }
    });
}

/// Messages as the kernel sends them, of namespaces wired in many ways.
fn netlink_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for wiring in [Wiring::AwsVpc, Wiring::AzureBridge, Wiring::MacvlanPassthru] {
        let world = World::builder("fuzz")
            .wiring(wiring)
            .family(Family::Dual)
            .pods(["pod"])
            .build()
            .unwrap();
        for netns in [&world.node.netns, &world.pod("pod").netns] {
            seeds.extend(messages(netns));
        }
    }
    seeds
}

fn messages(netns: &Netns) -> Vec<Vec<u8>> {
    let rules = RouteNetlinkMessage::GetRule(netlink_packet_route::rule::RuleMessage::default());
    let mut routes = netlink_packet_route::route::RouteMessage::default();
    routes.header.address_family = AddressFamily::Inet;
    let questions = [
        RouteNetlinkMessage::GetLink(LinkMessage::default()),
        RouteNetlinkMessage::GetRoute(routes),
        RouteNetlinkMessage::GetAddress(netlink_packet_route::address::AddressMessage::default()),
        RouteNetlinkMessage::GetQueueDiscipline(netlink_packet_route::tc::TcMessage::default()),
        rules,
    ];
    netns.run(|| questions.into_iter().flat_map(answers).collect())
}

fn answers(question: RouteNetlinkMessage) -> Vec<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket.connect(&SocketAddr::new(0, 0)).unwrap();
    let mut message = NetlinkMessage::from(question);
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).unwrap();
    let mut messages = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full().unwrap();
        let mut rest = datagram.as_slice();
        while rest.len() >= 16 {
            let length = usize::try_from(u32::from_ne_bytes(rest[..4].try_into().unwrap())).unwrap();
            let kind = u16::from_ne_bytes(rest[4..6].try_into().unwrap());
            // The end of a list, or that there is none.
            if kind < 16 {
                return messages;
            }
            messages.push(rest[..length].to_vec());
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// What a message says, if it can be read at all, goes through the choice as well.
fn read(input: &[u8]) {
    let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(input) else {
        return;
    };
    let NetlinkPayload::InnerMessage(message) = message.payload else {
        return;
    };
    match message {
        RouteNetlinkMessage::NewLink(link) => plan(interface_of(&link)),
        RouteNetlinkMessage::NewRoute(route) => drop(route_of(&route)),
        RouteNetlinkMessage::NewRule(rule) => drop(rule_of(&rule).map(|rule| rule.clash())),
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) => drop(filter_of(&qdisc, Direction::Ingress)),
        _ => {}
    }
}

fn plan(interface: Interface) {
    let facts = PodFacts {
        netns: NetnsId { inode: 1, device: 1 },
        is_host: false,
        interfaces: vec![interface],
        routes: Vec::new(),
        default_routes: DefaultRoutes::default(),
        rules: Vec::new(),
    };
    let kernel = KernelFacts::of_version(KernelVersion::new(6, 12));
    for contract in [Contract::InPod, Contract::Node] {
        let plan = choose(&facts, contract, &kernel, &ChoiceConfig::default());
        assert!(!plan.outbound.why.to_string().is_empty());
    }
}

#[test]
fn netlink() {
    let seeds = netlink_seeds();
    assert!(seeds.len() > 50, "{}", seeds.len());
    fuzz(&seeds, |input| {
        let mut input = input.to_vec();
        // The length in the header is what the kernel's own framing has checked.
        let whole = u32::try_from(input.len()).unwrap();
        if let Some(length) = input.first_chunk_mut::<4>() {
            *length = whole.to_ne_bytes();
        }
        read(&input);
    });
}
