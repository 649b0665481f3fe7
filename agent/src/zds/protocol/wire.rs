//! The part of protobuf's wire format that ZDS needs: varints, length-delimited fields, and skipping the rest.

/// Why bytes are not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("the message ends in the middle of a field")]
    Truncated,
    /// More than ten bytes, or more than 64 bits.
    #[error("a varint is longer than 64 bits")]
    VarintOverflow,
    /// Field numbers are 1 to 2^29-1.
    #[error("{0} is not a field number")]
    FieldNumber(u64),
    /// Groups (3, 4) are older than this protocol; 6 and 7 do not exist.
    #[error("wire type {0} is not in use")]
    WireType(u64),
}

/// The content of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer, boolean or enum.
    Varint(u64),
    /// A string, or an embedded message.
    Bytes(&'a [u8]),
    /// A fixed-width number; nothing in ZDS is one.
    Fixed,
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number in the schema.
    pub number: u32,
    /// Its content.
    pub value: Value<'a>,
}

/// Reads a message field by field; ends after the first error.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let key = self.varint()?;
        let number = field_number(key >> 3)?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            other => return Err(WireError::WireType(other)),
        };
        Ok(Field { number, value })
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if shift == 63 && bits > 1 {
                return Err(WireError::VarintOverflow);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::VarintOverflow)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn field_number(number: u64) -> Result<u32, WireError> {
    u32::try_from(number)
        .ok()
        .filter(|number| (1..1 << 29).contains(number))
        .ok_or(WireError::FieldNumber(number))
}

/// Appends a length-delimited field, even an empty one.
pub fn put_bytes(message: &mut Vec<u8>, number: u32, content: &[u8]) {
    put_varint(message, u64::from(number) << 3 | 2);
    put_varint(message, content.len() as u64);
    message.extend_from_slice(content);
}

/// Appends a string field; an empty string is the default and is left out.
pub fn put_string(message: &mut Vec<u8>, number: u32, content: &str) {
    if !content.is_empty() {
        put_bytes(message, number, content.as_bytes());
    }
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}
