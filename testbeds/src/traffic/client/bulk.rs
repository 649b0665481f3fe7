//! Many bytes, of which each chunk differs from the others.

use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde::{Deserialize, Serialize};

/// The outcome of a bulk transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulk {
    /// How many bytes were sent, and came back the same.
    pub bytes: u64,
    /// Their checksum.
    pub checksum: u64,
}

const CHUNK: usize = 64 * 1024;

pub(super) fn send(mut stream: &TcpStream, bytes: u64) -> io::Result<u64> {
    let mut checksum = DefaultHasher::new();
    let mut left = bytes;
    let mut chunk = vec![0u8; CHUNK];
    while left > 0 {
        // Every chunk differs, so that a swapped or repeated one is noticed.
        chunk
            .iter_mut()
            .zip(left..)
            .for_each(|(byte, value)| *byte = (value ^ (value >> 8)) as u8);
        let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        checksum.write(&chunk[..part]);
        stream.write_all(&chunk[..part])?;
        left -= part as u64;
    }
    Ok(checksum.finish())
}

pub(super) fn receive(stream: &mut impl Read, bytes: u64) -> io::Result<u64> {
    let mut checksum = DefaultHasher::new();
    let mut left = bytes;
    let mut chunk = vec![0u8; CHUNK];
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        stream.read_exact(&mut chunk[..part])?;
        checksum.write(&chunk[..part]);
        left -= part as u64;
    }
    Ok(checksum.finish())
}
