//! The DNS responder and client, over every transport.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weir_testbeds::netns::Netns;
use weir_testbeds::traffic::Cause;
use weir_testbeds::traffic::dns::{Kind, Query, Responder, Transport, Zone};

fn zone() -> Zone {
    Zone {
        v4: [192, 0, 2, 7].into(),
        v6: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into(),
    }
}

#[test]
fn every_transport_and_type_is_answered_by_who_was_asked() {
    let netns = Netns::new().unwrap();
    for bind in ["127.0.0.9:53", "[::1]:53"] {
        let bind: SocketAddr = bind.parse().unwrap();
        let responder = Responder::start(&netns, bind, zone()).unwrap();
        for transport in [Transport::Udp, Transport::ConnectedUdp, Transport::Tcp] {
            for (kind, address) in [(Kind::A, IpAddr::from(zone().v4)), (Kind::Aaaa, zone().v6.into())] {
                let query = Query::new(bind, "web.shop.svc.cluster.local")
                    .kind(kind)
                    .over(transport);
                let answer = query.ask(&netns).unwrap();
                assert_eq!((answer.from, answer.addresses), (bind, vec![address]));
                let seen = responder.seen().pop().unwrap();
                assert_eq!(
                    (seen.name.as_str(), seen.kind),
                    ("web.shop.svc.cluster.local", kind)
                );
                assert_eq!(seen.tcp, transport == Transport::Tcp);
            }
        }
        assert_eq!(responder.seen().len(), 6);
    }
}

#[test]
fn no_answer_is_a_timeout_and_no_resolver_a_refusal() {
    let netns = Netns::new().unwrap();
    let to: SocketAddr = "127.0.0.9:53".parse().unwrap();
    let query = Query::new(to, "a.b").deadline(Duration::from_millis(100));
    assert_eq!(query.ask(&netns).unwrap_err().cause, Cause::TimedOut);
    assert_eq!(
        query.over(Transport::ConnectedUdp).ask(&netns).unwrap_err().cause,
        Cause::Refused
    );
}

#[test]
fn garbage_is_not_answered_and_harms_nothing() {
    let netns = Netns::new().unwrap();
    let bind: SocketAddr = "127.0.0.9:53".parse().unwrap();
    let responder = Responder::start(&netns, bind, zone()).unwrap();
    let socket = netns.run(|| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    for garbage in [&b""[..], b"x", &[0xff; 12], &[0xff; 600], &[0; 13]] {
        socket.send_to(garbage, bind).unwrap();
    }
    Query::new(bind, "a.b").ask(&netns).unwrap();
    assert_eq!(responder.seen().len(), 1);
}
