use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use socket2::SockRef;

use super::{ANSWER, Dump, NLMSG_DONE, NLMSG_ERROR, Socket, States, dump, message, take};

fn datagram(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend([0; 10]);
    message.extend(payload);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn found(states: States, local: SocketAddr) -> Vec<Socket> {
    let mut sockets = dump(states).unwrap();
    sockets.retain(|socket| socket.local == local);
    sockets
}

#[test]
fn listeners_and_connections_are_told_apart() {
    for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let listener = TcpListener::bind(SocketAddr::new(address, 0)).unwrap();
        let local = listener.local_addr().unwrap();
        assert_eq!(found(States::LISTENING, local).len(), 1);
        assert_eq!(found(States::CONNECTED, local), []);
        let _client = TcpStream::connect(local).unwrap();
        let accepted = listener.accept().unwrap();
        assert_eq!(found(States::LISTENING, local).len(), 1);
        assert_eq!(found(States::CONNECTED, local).len(), 1);
        drop(accepted);
    }
}

#[test]
fn mapped_addresses_are_ipv4() {
    let listener = TcpListener::bind("[::ffff:127.0.0.1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    assert_eq!(found(States::LISTENING, local).len(), 1);
}

#[test]
fn world_transparent_listeners_are_told_from_others() {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let local = listener.local_addr().unwrap();
    let transparent = || found(States::LISTENING, local)[0].transparent;
    assert!(!transparent());
    SockRef::from(&listener).set_ip_transparent_v4(true).unwrap();
    assert!(transparent());
}

#[test]
fn a_binding_to_an_interface_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let interface = || found(States::LISTENING, local)[0].interface;
    assert_eq!(interface(), 0);
    SockRef::from(&listener).bind_device(Some(b"lo")).unwrap();
    assert_eq!(interface(), 1);
}

#[test]
fn world_the_mark_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let local = listener.local_addr().unwrap();
    let mark = || found(States::LISTENING, local)[0].mark;
    assert_eq!(mark(), 0);
    SockRef::from(&listener).set_mark(0x222).unwrap();
    assert_eq!(mark(), 0x222);
}

#[test]
fn answers_that_make_no_sense_end_nothing() {
    let mut sockets = Vec::new();
    for nonsense in [
        &[][..],
        &[1, 2, 3],
        &[0xff; 64],
        &[0; 64],
        &datagram(20, &[2; 40]),
    ] {
        assert_eq!(
            take(nonsense, &mut sockets).unwrap(),
            Dump::GoesOn,
            "{nonsense:?}"
        );
    }
    assert_eq!(sockets, []);
    let mut short_attribute = vec![2; ANSWER];
    short_attribute.extend([200, 0, 22, 0, 0xff]);
    take(&datagram(20, &short_attribute), &mut sockets).unwrap();
    assert_eq!((sockets[0].transparent, sockets[0].mark), (false, 0));
}

#[test]
fn the_kernels_refusal_is_an_error() {
    let refusal = datagram(NLMSG_ERROR, &(-libc::ENOENT).to_ne_bytes());
    let error = take(&refusal, &mut Vec::new()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    let done = datagram(NLMSG_DONE, &[0; 4]);
    assert_eq!(take(&done, &mut Vec::new()).unwrap(), Dump::Complete);
    assert!(message(&done).unwrap().2.is_empty());
}
