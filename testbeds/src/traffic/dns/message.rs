//! As much of the DNS wire format as one question and its answers need.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
// A compressed name: "the one at offset 12", which is where the question's name is.
const QUESTION_NAME: [u8; 2] = [0xc0, HEADER as u8];

/// A type of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
}

impl Kind {
    fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
        }
    }

    fn from_code(code: u16) -> Option<Self> {
        [Self::A, Self::Aaaa].into_iter().find(|kind| kind.code() == code)
    }
}

/// The one question of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) kind: Kind,
    end: usize,
}

pub(super) fn write_query(name: &str, kind: Kind) -> Vec<u8> {
    // Fixed id, recursion desired, one question.
    let mut message = vec![0x57, 0x52, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        message.push(label.len() as u8);
        message.extend_from_slice(label);
    }
    message.push(0);
    message.extend(kind.code().to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

pub(super) fn read_question(query: &[u8]) -> Option<Question> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => labels.push(String::from_utf8_lossy(query.get(at..at + length)?)),
            // A compressed name in a question has nothing before it to refer to.
            _ => return None,
        }
        at += length;
    }
    let kind = Kind::from_code(number(query, at)?)?;
    Some(Question {
        name: labels.join("."),
        kind,
        end: at + 4,
    })
}

pub(super) fn write_answer(query: &[u8], question: &Question, v4: Ipv4Addr, v6: Ipv6Addr) -> Option<Vec<u8>> {
    let mut message = query.get(..question.end)?.to_vec();
    // An answer without error; recursion available; one question, one answer, nothing else.
    message[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    message.extend(QUESTION_NAME);
    message.extend(question.kind.code().to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message.extend(30u32.to_be_bytes());
    match question.kind {
        Kind::A => push_data(&mut message, &v4.octets()),
        Kind::Aaaa => push_data(&mut message, &v6.octets()),
    }
    Some(message)
}

/// The addresses in the answer to `query`; `None` if it is not one.
pub(super) fn read_answer(query: &[u8], answer: &[u8]) -> Option<Vec<IpAddr>> {
    let is_answer = answer.get(2)? & 0x80 != 0;
    if answer.get(..2)? != query.get(..2)? || !is_answer {
        return None;
    }
    let mut at = read_question(answer)?.end;
    (0..number(answer, 6)?)
        .map(|_| read_record(answer, &mut at))
        .collect()
}

fn read_record(message: &[u8], at: &mut usize) -> Option<IpAddr> {
    // Name as a pointer, type, class, time to live: 10 bytes before the length.
    let length = usize::from(number(message, *at + 10)?);
    let data = message.get(*at + 12..*at + 12 + length)?;
    *at += 12 + length;
    match length {
        4 => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
        _ => None,
    }
}

fn push_data(message: &mut Vec<u8>, data: &[u8]) {
    message.extend((data.len() as u16).to_be_bytes());
    message.extend(data);
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}
