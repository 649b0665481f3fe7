//! Every message that the kernel sends about wirings of many kinds can be read. With `WEIR_BLESS=1` some of them become
//! what the fuzzer begins with (`fuzz/seeds/netlink`).
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::tc::TcMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use weir_testbeds::netns::Netns;
use weir_testbeds::world::{Family, Wiring, World};

#[test]
fn whatever_the_kernel_says_is_read() {
    // By kind and length, which is enough of a choice.
    let mut kept = BTreeMap::new();
    for wiring in [Wiring::AwsVpc, Wiring::AzureBridge, Wiring::MacvlanPassthru] {
        let world = World::builder("messages")
            .wiring(wiring)
            .family(Family::Dual)
            .pods(["pod"])
            .build()
            .unwrap();
        for netns in [&world.node.netns, &world.pod("pod").netns] {
            for message in messages(netns) {
                let read = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&message).unwrap();
                assert!(
                    matches!(read.payload, NetlinkPayload::InnerMessage(_)),
                    "{read:?}"
                );
                kept.insert((read.header.message_type, message.len()), message);
            }
        }
    }
    assert!(kept.len() > 10, "{}", kept.len());
    if env::var_os("WEIR_BLESS").is_some() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/netlink");
        for ((kind, length), message) in kept {
            fs::write(seeds.join(format!("{kind}-{length}")), message).unwrap();
        }
    }
}

fn messages(netns: &Netns) -> Vec<Vec<u8>> {
    let mut routes = RouteMessage::default();
    routes.header.address_family = AddressFamily::Inet;
    let questions = [
        RouteNetlinkMessage::GetLink(LinkMessage::default()),
        RouteNetlinkMessage::GetRoute(routes),
        RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()),
        RouteNetlinkMessage::GetRule(RuleMessage::default()),
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
