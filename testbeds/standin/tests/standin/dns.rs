//! DNS questions of a pod.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use weir_testbeds::deadline::PATIENCE;
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Direction, Dns, Outcome, Proxy, ProxyKind, ProxySpec};

use crate::agent::{Agent, Session};

const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03svc\x04test\x00\x00\x01\x00\x01";

fn start(pod: &Netns, dns: Dns) -> (Proxy, Agent, Session) {
    let agent = Agent::new();
    let spec = ProxySpec::in_pod(&Netns::new().unwrap(), agent.path()).dns(dns);
    let proxy = Proxy::start_kind(ProxyKind::stand_in().unwrap(), spec).unwrap();
    let mut session = agent.accept();
    session.add("uid", pod);
    (proxy, agent, session)
}

fn ask(pod: &Netns, server: &str) -> Vec<u8> {
    let local = if server.starts_with('[') {
        "[::1]:0"
    } else {
        "127.0.0.1:0"
    };
    let socket = pod.run(|| UdpSocket::bind(local)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket.send(QUESTION).unwrap();
    let mut answer = vec![0; 512];
    let length = socket.recv(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

fn ask_by_tcp(pod: &Netns, server: &str) -> Vec<u8> {
    let mut stream = pod.run(|| TcpStream::connect(server)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = (QUESTION.len() as u16).to_be_bytes();
    stream.write_all(&[&length, QUESTION].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    answer
}

#[test]
fn it_answers_on_loopback_in_both_families_and_transports() {
    let pod = Netns::new().unwrap();
    let address = "10.1.2.3".parse().unwrap();
    let (proxy, ..) = &start(&pod, Dns::Answers(vec![(Some("svc.test".to_owned()), address)]));
    for server in ["127.0.0.1:15053", "[::1]:15053"] {
        assert!(ask(&pod, server).ends_with(&[10, 1, 2, 3]), "{server} by UDP");
        assert!(
            ask_by_tcp(&pod, server).ends_with(&[10, 1, 2, 3]),
            "{server} by TCP"
        );
    }
    let record = proxy
        .wait_for(PATIENCE, |record| record.direction == Direction::Dns)
        .unwrap();
    assert_eq!(record.question.as_deref(), Some("A svc.test"));
    assert_eq!(
        (record.outcome, record.pod.as_deref()),
        (Outcome::Answered, Some("uid"))
    );
}

#[test]
fn it_forwards_from_inside_the_pod() {
    let pod = Netns::new().unwrap();
    // Only a socket in the pod's namespace reaches this server.
    let server = pod.run(|| UdpSocket::bind("127.0.0.2:53")).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let answering = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, peer) = server.recv_from(&mut buffer).unwrap();
        server
            .send_to(&[&buffer[..length], b"forwarded"].concat(), peer)
            .unwrap();
    });
    let (proxy, ..) = &start(&pod, Dns::Upstream("127.0.0.2:53".parse().unwrap()));
    assert!(ask(&pod, "127.0.0.1:15053").ends_with(b"forwarded"));
    answering.join().unwrap();
    let record = proxy
        .wait_for(PATIENCE, |record| record.direction == Direction::Dns)
        .unwrap();
    assert_eq!(record.outcome, Outcome::Forwarded);
}
