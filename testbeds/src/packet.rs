//! TCP packets, byte by byte: as a stack would send them, and in shapes that no stack sends.

use std::net::{IpAddr, SocketAddr};

use crate::mac::Mac;

const TCP: u8 = 6;
const FRAGMENT: u8 = 44;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// TCP's FIN flag.
pub const FIN: u8 = 0x01;
/// TCP's SYN flag.
pub const SYN: u8 = 0x02;
/// TCP's RST flag.
pub const RST: u8 = 0x04;
/// TCP's ACK flag.
pub const ACK: u8 = 0x10;

/// A packet to be built; without further words it is a plain SYN in an Ethernet frame.
#[derive(Clone, Debug)]
pub struct Packet {
    source: SocketAddr,
    destination: SocketAddr,
    ethernet: Option<(Mac, Mac)>,
    tags: Vec<(u16, u16)>,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: Option<(u16, bool)>,
    protocol: u8,
    flags: u8,
    payload: Vec<u8>,
    told_length: Option<u16>,
}

impl Packet {
    /// A SYN from `source` to `destination`, which must be of one family.
    pub fn syn(source: SocketAddr, destination: SocketAddr) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "one family");
        Self {
            source,
            destination,
            ethernet: Some((Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 1]))),
            tags: Vec::new(),
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            protocol: TCP,
            flags: SYN,
            payload: Vec::new(),
            told_length: None,
        }
    }

    /// With these TCP flags instead.
    pub fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// With this protocol number instead of TCP's; the bytes stay those of TCP.
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = protocol;
        self
    }

    /// With data.
    pub fn payload(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.payload = bytes.into();
        self
    }

    /// With an IP header that tells this length: IPv4's of the whole packet, IPv6's of what follows the header.
    pub fn told_length(mut self, length: u16) -> Self {
        self.told_length = Some(length);
        self
    }

    /// The packet, plain and without data, with lengths that are not its own.
    pub fn of_wrong_lengths(&self) -> [(&'static str, Self); 5] {
        let tcp = if self.source.is_ipv4() { 20 } else { 0 };
        [
            ("tells no length", 0),
            ("ends between its ports", tcp + 2),
            ("ends before its flags", tcp + 13),
            ("is a byte too short", tcp + 21),
            ("tells the greatest length", u16::MAX),
        ]
        .map(|(name, length)| (name, self.clone().told_length(length)))
    }

    /// In a frame between these Ethernet addresses.
    pub fn ethernet(mut self, source: Mac, destination: Mac) -> Self {
        self.ethernet = Some((source, destination));
        self
    }

    /// Without Ethernet header, as on a tunnel.
    pub fn without_ethernet(mut self) -> Self {
        self.ethernet = None;
        self
    }

    /// With one more VLAN tag inside those that are there.
    pub fn vlan(self, id: u16) -> Self {
        self.tag(0x8100, id)
    }

    /// With one more provider's tag (802.1ad).
    pub fn provider_vlan(self, id: u16) -> Self {
        self.tag(0x88a8, id)
    }

    fn tag(mut self, kind: u16, id: u16) -> Self {
        self.tags.push((kind, id));
        self
    }

    /// With so many 32-bit words of IPv4 options that do nothing.
    pub fn options(mut self, words: u8) -> Self {
        assert!(
            self.source.is_ipv4() && words <= 10,
            "IPv4 has room for ten words"
        );
        self.options = vec![1; usize::from(words) * 4];
        self
    }

    /// With one more IPv6 extension header of this kind, of `length` bytes, a multiple of eight.
    pub fn extension(mut self, kind: u8, length: usize) -> Self {
        assert!(
            !self.source.is_ipv4() && length >= 8 && length.is_multiple_of(8),
            "an IPv6 extension"
        );
        // The authentication header counts words, all others blocks of eight bytes after the first.
        let count = if kind == 51 {
            length / 4 - 2
        } else {
            length / 8 - 1
        };
        assert!(count <= 255, "the header cannot tell more");
        let mut bytes = vec![0; length];
        bytes[1] = count as u8;
        self.extensions.push((kind, bytes));
        self
    }

    /// As a fragment at this offset in blocks of eight bytes; the bytes are those of the whole.
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        if self.source.is_ipv4() {
            self.fragment = Some((offset, more));
        } else {
            let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
            self.extensions
                .push((FRAGMENT, vec![0, 0, high, low, 0, 0, 0, 7]));
        }
        self
    }

    /// The bytes.
    pub fn build(&self) -> Vec<u8> {
        let mut bytes = self.link_header();
        let tcp = self.tcp();
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                bytes.extend(self.ipv4_header(source.octets(), destination.octets(), tcp.len()));
            }
            (source, destination) => {
                bytes.extend(self.ipv6_headers(&octets(source), &octets(destination), tcp.len()));
            }
        }
        bytes.extend(tcp);
        bytes
    }

    fn link_header(&self) -> Vec<u8> {
        let Some((Mac(source), Mac(destination))) = self.ethernet else {
            return Vec::new();
        };
        let mut bytes = [destination, source].concat();
        for (kind, id) in &self.tags {
            bytes.extend([kind.to_be_bytes(), id.to_be_bytes()].concat());
        }
        let kind = if self.source.is_ipv4() { IPV4 } else { IPV6 };
        bytes.extend(kind.to_be_bytes());
        bytes
    }

    fn ipv4_header(&self, source: [u8; 4], destination: [u8; 4], payload: usize) -> Vec<u8> {
        let length = 20 + self.options.len();
        let words = (length / 4) as u8;
        let (offset, more) = self.fragment.unwrap_or((0, false));
        let mut bytes = vec![0x40 | words, 0];
        bytes.extend(self.length(length + payload));
        bytes.extend([0, 7]);
        bytes.extend((offset | u16::from(more) << 13).to_be_bytes());
        bytes.extend([64, self.protocol, 0, 0]);
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend(&self.options);
        let sum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum);
        bytes
    }

    fn ipv6_headers(&self, source: &[u8], destination: &[u8], payload: usize) -> Vec<u8> {
        let extensions: usize = self.extensions.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut kinds = self
            .extensions
            .iter()
            .map(|(kind, _)| *kind)
            .chain([self.protocol]);
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(self.length(extensions + payload));
        bytes.extend(kinds.next());
        bytes.push(64);
        bytes.extend(source);
        bytes.extend(destination);
        for ((_, extension), next) in self.extensions.iter().zip(kinds) {
            bytes.push(next);
            bytes.extend(&extension[1..]);
        }
        bytes
    }

    fn length(&self, true_length: usize) -> [u8; 2] {
        match self.told_length {
            Some(told) => told.to_be_bytes(),
            None => wire_length(true_length),
        }
    }

    fn tcp(&self) -> Vec<u8> {
        let mut bytes = [
            self.source.port().to_be_bytes(),
            self.destination.port().to_be_bytes(),
        ]
        .concat();
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend(&self.payload);
        let pseudo_header = [
            octets(self.source.ip()),
            octets(self.destination.ip()),
            vec![0, TCP],
            wire_length(bytes.len()).to_vec(),
        ];
        let sum = checksum(&[pseudo_header.concat(), bytes.clone()].concat());
        bytes[16..18].copy_from_slice(&sum);
        bytes
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[expect(clippy::expect_used, reason = "packets of tests are small")]
fn wire_length(length: usize) -> [u8; 2] {
    u16::try_from(length)
        .expect("a packet of at most 64 KiB")
        .to_be_bytes()
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "folded above")]
    (!(sum as u16)).to_be_bytes()
}
