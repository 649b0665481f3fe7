//! The listening TCP sockets of a namespace, as the kernel's socket diagnostics describe them.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use socket2::{Domain, Protocol, Socket, Type};
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::netns::Netns;

const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_AND_DUMP: u16 = 0x301;
const DONE: u16 = 3;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
const LISTEN: u32 = 1 << 10;
const HEADER: usize = 16;
const MESSAGE: usize = 72;
const ATTRIBUTE_MARK: u16 = 15;
const ATTRIBUTE_OPTIONS: u16 = 22;
const OPTION_TRANSPARENT: u8 = 1 << 5;

/// A listener, by what a redirector has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    pub family: u8,
    pub mark: u32,
    pub transparent: bool,
    pub backlog: u32,
    pub inode: u32,
}

/// All listeners of a namespace by port; of several on a port, one.
pub fn listeners(netns: &Netns) -> BTreeMap<u16, Listener> {
    netns.run(|| [AF_INET, AF_INET6].into_iter().flat_map(dump).collect())
}

pub fn wait_for_listeners(netns: &Netns, ports: &[u16]) {
    let found = || listeners(netns).into_keys().collect::<Vec<_>>();
    eventually(PATIENCE, || (found() == ports).then_some(()))
        .unwrap_or_else(|expired| panic!("{expired}: {:?} instead of {ports:?}", found()));
}

fn dump(family: u8) -> Vec<(u16, Listener)> {
    let kind = Type::RAW;
    let mut socket = Socket::new(Domain::from(16), kind, Some(Protocol::from(NETLINK_SOCK_DIAG))).unwrap();
    socket.write_all(&request(family)).unwrap();
    let (mut found, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let length = socket.read(&mut buffer).unwrap();
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let (size, kind) = (word(rest, 0) as usize, half(rest, 4));
            if kind == DONE {
                return found;
            }
            assert_eq!(kind, SOCK_DIAG_BY_FAMILY, "the kernel refused the dump");
            found.push(parse(&rest[HEADER..size]));
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

fn request(family: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST_AND_DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend(LISTEN.to_ne_bytes());
    bytes.resize(72, 0);
    bytes
}

fn parse(message: &[u8]) -> (u16, Listener) {
    let mut listener = Listener {
        family: message[0],
        mark: 0,
        transparent: false,
        backlog: word(message, 60),
        inode: word(message, 68),
    };
    let mut rest = &message[MESSAGE..];
    while rest.len() >= 4 {
        let (size, kind) = (usize::from(half(rest, 0)), half(rest, 2));
        match kind {
            ATTRIBUTE_MARK => listener.mark = word(rest, 4),
            ATTRIBUTE_OPTIONS => listener.transparent = rest[4] & OPTION_TRANSPARENT != 0,
            _ => {}
        }
        rest = &rest[size.next_multiple_of(4).min(rest.len())..];
    }
    (u16::from_be_bytes([message[4], message[5]]), listener)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().unwrap())
}
