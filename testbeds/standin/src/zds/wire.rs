//! The protobuf encoding of ZDS: the few messages it has, read and written by hand.

/// What the proxy says first: protocol version 1.
pub const HELLO: &[u8] = &[0x08, 0x01];

/// What the node agent asks of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Take over this pod; its network namespace comes along as a descriptor.
    Add {
        /// The pod's UID.
        uid: String,
        /// Whose pod it is; the protocol requires it, an encoder may forget it.
        workload: Option<Workload>,
    },
    /// The pod still exists, although its namespace is not known yet.
    Keep {
        /// The pod's UID.
        uid: String,
    },
    /// The pod is gone.
    Del {
        /// The pod's UID.
        uid: String,
    },
    /// Everything that exists has been announced.
    SnapshotSent,
}

/// A pod's identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The pod's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
}

/// Why bytes are not a ZDS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A length or a number goes beyond the end.
    #[error("the message ends in the middle of a field")]
    Truncated,
    /// A number is longer than 64 bits.
    #[error("a number is longer than 64 bits")]
    LongNumber,
    /// A field has another wire type than the protocol gives it.
    #[error("field {0} has wire type {1}, which the protocol does not give it")]
    WireType(u64, u64),
    /// A string is not UTF-8.
    #[error("field {0} is not UTF-8")]
    NotText(u64),
    /// The message asks for nothing that is known.
    #[error("no payload")]
    NoPayload,
}

impl Request {
    /// Reads one datagram.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut request = None;
        for field in Fields(bytes) {
            let field = field?;
            request = match field.number {
                1 => Some(decode_add(field.bytes()?)?),
                2 => Some(Self::Del {
                    uid: only_text(field.bytes()?, 2)?,
                }),
                3 => {
                    field.bytes()?;
                    Some(Self::SnapshotSent)
                }
                5 => Some(Self::Keep {
                    uid: only_text(field.bytes()?, 1)?,
                }),
                _ => request,
            };
        }
        request.ok_or(Error::NoPayload)
    }

    /// Writes one datagram.
    pub fn encode(&self) -> Vec<u8> {
        let (number, body) = match self {
            Self::Add { uid, workload } => (1, encode_add(uid, workload.as_ref())),
            Self::Keep { uid } => (5, text_field(1, uid)),
            Self::Del { uid } => (2, text_field(2, uid)),
            Self::SnapshotSent => (3, Vec::new()),
        };
        bytes_field(number, &body)
    }
}

/// The answer to a request: an empty error means that it was carried out.
pub fn encode_ack(error: &str) -> Vec<u8> {
    bytes_field(1, &text_field(1, error))
}

/// Reads the error out of an answer.
pub fn decode_ack(bytes: &[u8]) -> Result<String, Error> {
    let mut error = None;
    for field in Fields(bytes) {
        let field = field?;
        if field.number == 1 {
            error = Some(only_text(field.bytes()?, 1)?);
        }
    }
    error.ok_or(Error::NoPayload)
}

fn decode_add(body: &[u8]) -> Result<Request, Error> {
    let (mut uid, mut workload) = (String::new(), None);
    for field in Fields(body) {
        let field = field?;
        match field.number {
            1 => uid = field.text()?,
            2 => workload = Some(decode_workload(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(Request::Add { uid, workload })
}

fn decode_workload(body: &[u8]) -> Result<Workload, Error> {
    let mut workload = Workload::default();
    for field in Fields(body) {
        let field = field?;
        match field.number {
            1 => workload.name = field.text()?,
            2 => workload.namespace = field.text()?,
            3 => workload.service_account = field.text()?,
            _ => {}
        }
    }
    Ok(workload)
}

/// A message of which only one text field matters.
fn only_text(body: &[u8], number: u64) -> Result<String, Error> {
    let mut text = String::new();
    for field in Fields(body) {
        let field = field?;
        if field.number == number {
            text = field.text()?;
        }
    }
    Ok(text)
}

fn encode_add(uid: &str, workload: Option<&Workload>) -> Vec<u8> {
    let mut body = text_field(1, uid);
    if let Some(workload) = workload {
        let parts = [&workload.name, &workload.namespace, &workload.service_account];
        let fields = parts
            .into_iter()
            .zip(1..)
            .map(|(text, number)| text_field(number, text));
        body.extend(bytes_field(2, &fields.collect::<Vec<_>>().concat()));
    }
    body
}

/// Protobuf leaves out what is empty.
fn text_field(number: u64, text: &str) -> Vec<u8> {
    if text.is_empty() {
        Vec::new()
    } else {
        bytes_field(number, text.as_bytes())
    }
}

fn bytes_field(number: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 4);
    push_varint(&mut bytes, number << 3 | LENGTH_DELIMITED);
    push_varint(&mut bytes, body.len() as u64);
    bytes.extend_from_slice(body);
    bytes
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

struct Field<'a> {
    number: u64,
    wire_type: u64,
    body: &'a [u8],
}

impl<'a> Field<'a> {
    fn bytes(&self) -> Result<&'a [u8], Error> {
        match self.wire_type {
            LENGTH_DELIMITED => Ok(self.body),
            other => Err(Error::WireType(self.number, other)),
        }
    }

    fn text(&self) -> Result<String, Error> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| Error::NotText(self.number))?;
        Ok(text.to_owned())
    }
}

/// The fields of a message, in order; unknown ones too, as protobuf wants them skipped.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Field<'a>, Error> {
        let key = self.varint()?;
        let (number, wire_type) = (key >> 3, key & 7);
        let length = match wire_type {
            VARINT => {
                self.varint()?;
                0
            }
            FIXED64 => 8,
            LENGTH_DELIMITED => self.varint()?,
            FIXED32 => 4,
            other => return Err(Error::WireType(number, other)),
        };
        let body = self.take(length)?;
        Ok(Field {
            number,
            wire_type,
            body,
        })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Error> {
        let length = usize::try_from(length).map_err(|_| Error::Truncated)?;
        let (body, rest) = self.0.split_at_checked(length).ok_or(Error::Truncated)?;
        self.0 = rest;
        Ok(body)
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.take(1)?[0]);
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::LongNumber)
    }
}

#[cfg(test)]
mod tests;
