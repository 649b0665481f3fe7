//! As much of DNS as it takes to read a question and to answer it with an address.

use std::net::IpAddr;

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// A pointer to the name in the question, right behind the header.
const NAME_POINTER: u16 = 0xc000 | HEADER as u16;
const TTL_SECONDS: u32 = 30;

/// A query with one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    id: u16,
    recursion_desired: bool,
    /// The name, in lower case, without the last dot.
    pub name: String,
    kind: u16,
    /// The question as it came, to be repeated in the answer.
    question: Vec<u8>,
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The name exists, with these addresses; those of the asked type are given.
    Addresses(&'a [IpAddr]),
    /// The name does not exist.
    NoSuchName,
    /// It is not known whether the name exists.
    ServerFailure,
}

impl Query {
    /// Reads a datagram; none if it is no query with exactly one question.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let flags = word(bytes, 2)?;
        let is_query = flags & 0xf800 == 0;
        if !is_query || word(bytes, 4)? != 1 {
            return None;
        }
        let (name, end) = name(bytes)?;
        Some(Self {
            id: word(bytes, 0)?,
            recursion_desired: flags & 0x0100 != 0,
            name,
            kind: word(bytes, end)?,
            question: bytes.get(HEADER..end + 4)?.to_vec(),
        })
    }

    /// The question as people write it.
    pub fn text(&self) -> String {
        match self.kind {
            TYPE_A => format!("A {}", self.name),
            TYPE_AAAA => format!("AAAA {}", self.name),
            other => format!("TYPE{other} {}", self.name),
        }
    }

    /// Writes the answer.
    pub fn answer(&self, reply: Reply<'_>) -> Vec<u8> {
        let (code, addresses) = match reply {
            Reply::Addresses(all) => (
                0,
                all.iter()
                    .copied()
                    .filter(|address| self.asks_for(*address))
                    .collect(),
            ),
            Reply::ServerFailure => (2, Vec::new()),
            Reply::NoSuchName => (3, Vec::new()),
        };
        let recursion = 0x0080 | u16::from(self.recursion_desired) << 8;
        let header = [
            self.id,
            0x8000 | recursion | code,
            1,
            addresses.len() as u16,
            0,
            0,
        ];
        let mut bytes: Vec<u8> = header.into_iter().flat_map(u16::to_be_bytes).collect();
        bytes.extend_from_slice(&self.question);
        for address in addresses {
            push_address(&mut bytes, address);
        }
        bytes
    }

    fn asks_for(&self, address: IpAddr) -> bool {
        self.kind == kind_of(address)
    }
}

fn kind_of(address: IpAddr) -> u16 {
    if address.is_ipv4() { TYPE_A } else { TYPE_AAAA }
}

fn push_address(bytes: &mut Vec<u8>, address: IpAddr) {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.extend(
        [NAME_POINTER, kind_of(address), CLASS_IN]
            .into_iter()
            .flat_map(u16::to_be_bytes),
    );
    bytes.extend(TTL_SECONDS.to_be_bytes());
    bytes.extend((octets.len() as u16).to_be_bytes());
    bytes.extend(octets);
}

/// The question's name and the offset behind it; questions hold no pointers.
fn name(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        match length {
            0 => return Some((labels.join("."), at)),
            1..64 => {
                let label = bytes.get(at..at + length)?;
                labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
                at += length;
            }
            _ => return None,
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03Svc\x04test\x00\x00\x01\x00\x01";

    #[test]
    fn a_question_is_read() {
        let query = Query::decode(QUERY).unwrap();
        assert_eq!(query.text(), "A svc.test");
    }

    #[test]
    fn an_answer_holds_the_addresses_of_the_asked_type() {
        let query = Query::decode(QUERY).unwrap();
        let all = ["10.1.2.3".parse().unwrap(), "fd00::1".parse().unwrap()];
        let mut expected = QUERY.to_vec();
        expected[2..8].copy_from_slice(b"\x81\x80\x00\x01\x00\x01");
        expected.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x01\x02\x03");
        assert_eq!(query.answer(Reply::Addresses(&all)), expected);
        assert_eq!(query.answer(Reply::NoSuchName)[3], 0x83);
        assert_eq!(query.answer(Reply::ServerFailure)[3], 0x82);
    }

    #[test]
    fn what_is_no_query_is_left_alone() {
        for end in 0..QUERY.len() {
            assert_eq!(Query::decode(&QUERY[..end]), None, "{end} bytes");
        }
        let mut answer = QUERY.to_vec();
        answer[2] = 0x81;
        assert_eq!(Query::decode(&answer), None);
        let mut pointer = QUERY.to_vec();
        pointer[12] = 0xc0;
        assert_eq!(Query::decode(&pointer), None);
    }
}
