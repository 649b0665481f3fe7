//! The messages of ZDS (protobuf package `istio.workload.zds`), one per datagram.
//!
//! | direction | message | fields |
//! |---|---|---|
//! | ztunnel to agent, first | `ZdsHello` | version = 1 |
//! | agent to ztunnel | `WorkloadRequest` | one of add = 1, del = 2, snapshot_sent = 3, keep = 5 |
//! | ztunnel to agent, one per request | `WorkloadResponse` | ack = 1 { error = 1 } |
mod wire;

pub use wire::WireError;
use wire::{Field, Fields, Value, put_bytes, put_string};

use crate::pods::pod::PodUid;

/// What ztunnel reads into; a longer datagram would be cut, refused, and the connection dropped.
pub const MAX_REQUEST: usize = 1024;

/// The only version there is.
pub const VERSION: u64 = 1;

/// Why a request cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It would not fit ztunnel's buffer.
    #[error(
        "pod {uid:.64}: the ZDS message has {length} bytes, ztunnel reads at most {MAX_REQUEST}; \
         shorten the names of the pod and its service account"
    )]
    TooLong {
        /// The pod it is about.
        uid: PodUid,
        /// How long it would be.
        length: usize,
    },
}

/// Why a datagram of ztunnel's is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf.
    #[error("not a ZDS message: {0}")]
    Wire(#[from] WireError),
    /// A known field holds another type than the schema says.
    #[error("{message} field {number} has the wrong type; is this ztunnel?")]
    FieldType {
        /// The message that was expected.
        message: &'static str,
        /// The field in it.
        number: u32,
    },
    /// A response without its payload.
    #[error("the response holds no acknowledgement; is ztunnel newer than this agent?")]
    NoPayload,
}

/// ztunnel's first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version it speaks; 0 when it says none.
    pub version: u64,
}

impl Hello {
    /// Reads the first datagram of a connection.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut version = 0;
        for field in Fields::of(datagram) {
            match field? {
                Field {
                    number: 1,
                    value: Value::Varint(value),
                } => version = value,
                Field { number: 1, .. } => return Err(wrong_type("ZdsHello", 1)),
                _unknown => {}
            }
        }
        Ok(Self { version })
    }
}

/// ztunnel's answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ack,
    /// Not done, in ztunnel's words.
    Nack(String),
}

impl Answer {
    /// Reads the datagram that answers a request.
    pub fn decode(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut answer = None;
        for field in Fields::of(datagram) {
            match field? {
                Field {
                    number: 1,
                    value: Value::Bytes(ack),
                } => answer = Some(Self::decode_ack(ack)?),
                Field { number: 1, .. } => return Err(wrong_type("WorkloadResponse", 1)),
                _unknown => {}
            }
        }
        answer.ok_or(DecodeError::NoPayload)
    }

    fn decode_ack(ack: &[u8]) -> Result<Self, DecodeError> {
        let mut error = &[][..];
        for field in Fields::of(ack) {
            match field? {
                Field {
                    number: 1,
                    value: Value::Bytes(text),
                } => error = text,
                Field { number: 1, .. } => return Err(wrong_type("Ack", 1)),
                _unknown => {}
            }
        }
        if error.is_empty() {
            return Ok(Self::Ack);
        }
        Ok(Self::Nack(String::from_utf8_lossy(error).into_owned()))
    }
}

const fn wrong_type(message: &'static str, number: u32) -> DecodeError {
    DecodeError::FieldType { message, number }
}

/// A message to ztunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Serve this pod; one network namespace goes with it.
    Add {
        /// The pod's UID.
        uid: &'a PodUid,
        /// The pod's name.
        name: &'a str,
        /// The pod's namespace.
        namespace: &'a str,
        /// The pod's service account.
        service_account: &'a str,
    },
    /// Go on serving this pod; only before [`Request::SnapshotSent`].
    Keep(&'a PodUid),
    /// Stop serving this pod.
    Del(&'a PodUid),
    /// Everything is announced: drop what was not. ztunnel exits when it comes twice.
    SnapshotSent,
}

impl Request<'_> {
    /// The datagram, unless it would not fit ztunnel's buffer.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut message = Vec::new();
        let (number, uid, payload) = self.payload();
        put_bytes(&mut message, number, &payload);
        match uid {
            Some(uid) if message.len() > MAX_REQUEST => Err(EncodeError::TooLong {
                uid: uid.clone(),
                length: message.len(),
            }),
            _ => Ok(message),
        }
    }

    fn payload(&self) -> (u32, Option<&PodUid>, Vec<u8>) {
        let mut payload = Vec::new();
        match *self {
            Self::Add {
                uid,
                name,
                namespace,
                service_account,
            } => {
                put_string(&mut payload, 1, uid.as_str());
                // Present even when empty: ztunnel exits on an Add without it.
                put_bytes(&mut payload, 2, &workload_info(name, namespace, service_account));
                (1, Some(uid), payload)
            }
            Self::Del(uid) => {
                put_string(&mut payload, 2, uid.as_str());
                (2, Some(uid), payload)
            }
            Self::SnapshotSent => (3, None, payload),
            Self::Keep(uid) => {
                put_string(&mut payload, 1, uid.as_str());
                (5, Some(uid), payload)
            }
        }
    }
}

fn workload_info(name: &str, namespace: &str, service_account: &str) -> Vec<u8> {
    let mut info = Vec::new();
    put_string(&mut info, 1, name);
    put_string(&mut info, 2, namespace);
    put_string(&mut info, 3, service_account);
    info
}

#[cfg(test)]
mod tests;
