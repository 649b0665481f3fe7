//! What istio-cni leaves in netfilter: chains and address sets, asked for without any of its programs.

use std::io;
use std::path::Path;

use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NlaBuffer, NlasIterator};
use rtnetlink::sys::{Socket, SocketAddr};

use crate::facts::Leftover;

/// NETLINK_NETFILTER.
const NETFILTER: isize = 12;
const NF_TABLES: u16 = 10;
const GET_CHAIN: u16 = 4;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const IP_SET: u16 = 6;
const LIST_SETS: u16 = 7;
const SET_PROTOCOL: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 6;
/// NLA_F_NET_BYTEORDER.
const NETWORK_ORDER: u16 = 1 << 14;
/// Names of sets, without their members.
const NAMES_ONLY: u32 = 1 << 1;
/// A protocol that kernels have known since 2.6.39.
const SET_PROTOCOL_VERSION: u8 = 6;

const HEADER: usize = 16;
const NFGEN: usize = 4;
const DONE: u16 = 3;
const ERROR: u16 = 2;

/// Chains of istio-cni's are called so, in tables of iptables or of its own.
const CHAINS: [&str; 3] = ["ISTIO_", "istio-ambient", "istio-"];
const SETS: &str = "istio-inpod-probes";

/// What istio-cni left in the namespace of the calling thread. Rules of iptables' old kind cannot be listed by netlink;
/// if there are any that is said.
pub(super) fn leftovers(unread: &mut Vec<String>) -> Vec<Leftover> {
    let mut left = Vec::new();
    match ask(NF_TABLES, GET_CHAIN, &[]) {
        Ok(answers) => left.extend(answers.iter().filter_map(|answer| chain(answer))),
        Err(error) if is_absent(&error) => {}
        Err(error) => unread.push(format!("chains of nf_tables: {error}")),
    }
    // Asking would load the module.
    if Path::new("/sys/module/ip_set").exists() {
        match ask(IP_SET, LIST_SETS, &set_question()) {
            Ok(answers) => left.extend(answers.iter().filter_map(|answer| set(answer))),
            Err(error) if is_absent(&error) => {}
            Err(error) => unread.push(format!("address sets: {error}")),
        }
    }
    if std::fs::read_to_string("/proc/net/ip_tables_names").is_ok_and(|tables| !tables.trim().is_empty()) {
        unread.push("rules of iptables-legacy: `iptables-legacy-save` lists them".to_owned());
    }
    left
}

/// A kernel without the subsystem.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(nix::libc::EINVAL | nix::libc::EOPNOTSUPP | nix::libc::EPROTONOSUPPORT | nix::libc::ENOENT)
    )
}

fn set_question() -> Vec<u8> {
    let mut question = attribute(SET_PROTOCOL, &[SET_PROTOCOL_VERSION]);
    question.extend(attribute(SET_FLAGS | NETWORK_ORDER, &NAMES_ONLY.to_be_bytes()));
    question
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The answers to a question that lists things, each from its attributes on.
fn ask(subsystem: u16, command: u16, attributes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut socket = Socket::new(NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question(subsystem << 8 | command, attributes), 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if !messages(&datagram, &mut answers)? {
            return Ok(answers);
        }
    }
}

fn question(kind: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + NFGEN + attributes.len()).unwrap_or(u32::MAX);
    let flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence number and port are nobody's concern: this socket asks one question.
    bytes.extend([0; 8]);
    bytes.extend([0; NFGEN]);
    bytes.extend(attributes);
    bytes
}

/// Takes a datagram apart; whether more are to come.
fn messages(mut datagram: &[u8], answers: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    while let Some((length, kind)) = head(datagram) {
        let Some(message) = datagram.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            DONE => return Ok(false),
            ERROR => return refused(message).map(|()| false),
            _ => answers.extend(message.get(NFGEN..).map(<[u8]>::to_vec)),
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

fn head(datagram: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    (length >= HEADER).then_some((length, kind))
}

fn refused(message: &[u8]) -> io::Result<()> {
    let code = message.get(..4).and_then(|bytes| bytes.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn chain(answer: &[u8]) -> Option<Leftover> {
    let (table, chain) = (text(answer, CHAIN_TABLE)?, text(answer, CHAIN_NAME)?);
    let is_istio = |name: &str| CHAINS.iter().any(|prefix| name.starts_with(prefix));
    (is_istio(&chain) || is_istio(&table)).then_some(Leftover::Chain { table, chain })
}

fn set(answer: &[u8]) -> Option<Leftover> {
    let name = text(answer, SET_NAME)?;
    name.starts_with(SETS).then_some(Leftover::AddressSet { name })
}

fn text(attributes: &[u8], kind: u16) -> Option<String> {
    let found = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|attribute: &NlaBuffer<&[u8]>| attribute.kind() == kind)?;
    let bytes = found.value();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Leftover, attribute, chain, messages, question, set};

    #[test]
    fn answers_are_taken_apart() {
        let named = |kind: u16, text: &str| attribute(kind, format!("{text}\0").as_bytes());
        let answer = [named(1, "nat"), named(3, "ISTIO_POSTRT")].concat();
        let expected = Leftover::Chain {
            table: "nat".to_owned(),
            chain: "ISTIO_POSTRT".to_owned(),
        };
        assert_eq!(chain(&answer), Some(expected));
        assert_eq!(chain(&[named(1, "nat"), named(3, "POSTROUTING")].concat()), None);
        let name = "istio-inpod-probes-v4".to_owned();
        assert_eq!(set(&named(2, &name)), Some(Leftover::AddressSet { name }));
    }

    #[test]
    fn a_datagram_may_hold_anything() {
        let mut answers = Vec::new();
        let whole = question(0x0a03, &attribute(1, b"x\0"));
        assert!(messages(&whole, &mut answers).unwrap());
        assert_eq!(answers.len(), 1);
        for length in 0..whole.len() {
            messages(&whole[..length], &mut Vec::new()).ok();
        }
        let mut done = question(0, &[]);
        done[4..6].copy_from_slice(&3_u16.to_ne_bytes());
        assert!(!messages(&done, &mut answers).unwrap());
        let mut error = question(0, &[]);
        error[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        error[16..20].copy_from_slice(&(-22_i32).to_ne_bytes());
        assert_eq!(
            messages(&error, &mut answers).unwrap_err().raw_os_error(),
            Some(22)
        );
    }
}
