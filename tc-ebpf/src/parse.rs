//! Finds the IP and TCP headers of a packet: exactly, or not at all.

use weir_common::address::Address;
use weir_ebpf_shared::account::Connection;

use crate::packet::Packet;

const ETHERTYPE_OFFSET: u32 = 12;
const VLAN_LENGTH: u32 = 4;
/// A customer's tag inside a provider's.
const MAX_VLANS: u32 = 2;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const PROVIDER_VLAN: u16 = 0x88a8;

const IPV4_LENGTH: u32 = 20;
const IPV6_LENGTH: u32 = 40;
/// Extension headers before the TCP header; more of them is nobody's honest packet.
const MAX_EXTENSIONS: u32 = 8;

/// Bytes of an ICMP error before the packet that it is about.
const ICMP_LENGTH: u32 = 8;

const HOP_BY_HOP: u8 = 0;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// What a packet begins with: a property of the interface, as packets themselves do not tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// An Ethernet header.
    Ethernet,
    /// The IP header, as on tunnels.
    Ip,
}

/// IP version of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A TCP segment.
#[derive(Clone, Copy)]
pub struct Segment {
    /// Where the IP header is, and which version it is of.
    pub network: (u32, Version),
    /// Where the TCP header is.
    pub transport: u32,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    flags: u8,
}

impl Segment {
    /// Whether it asks for a new connection.
    #[inline(always)]
    pub const fn opens(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }

    /// Whether it may be the last step of opening a connection.
    #[inline(always)]
    pub const fn acknowledges(&self) -> bool {
        self.flags & (SYN | ACK) == ACK
    }

    /// The same segment to another port, from a port that no connection has: only a listener can have it.
    #[inline(always)]
    pub const fn to_listener(&self, port: u16) -> Self {
        Self {
            source_port: 0,
            destination_port: port,
            ..*self
        }
    }

    /// The segment as the accounting wants it.
    #[inline(always)]
    pub const fn connection(&self, netns: u64) -> Connection {
        Connection {
            netns,
            process: 0,
            source: self.source,
            source_port: self.source_port,
            destination: self.destination,
            destination_port: self.destination_port,
        }
    }
}

/// The TCP segment in the packet. Nothing for other protocols, for later fragments, which have no TCP header, and for
/// what is cut off or malformed.
#[inline(always)]
pub fn segment(packet: &Packet, link: Link) -> Option<Segment> {
    datagram(packet, link)?.segment(packet)
}

/// The IP datagram in the packet, down to its transport header.
#[inline(always)]
pub fn datagram(packet: &Packet, link: Link) -> Option<Datagram> {
    let (network, version) = match link {
        Link::Ethernet => below_ethernet(packet)?,
        Link::Ip => (0, version_at(packet, 0)?),
    };
    datagram_at(packet, network, version)
}

#[inline(always)]
fn datagram_at(packet: &Packet, network: u32, version: Version) -> Option<Datagram> {
    match version {
        Version::V4 => in_ipv4(packet, network),
        Version::V6 => in_ipv6(packet, network),
    }
}

/// The kernel's own idea of the protocol is not asked: whoever sends from a packet socket chooses it freely.
#[inline(always)]
fn below_ethernet(packet: &Packet) -> Option<(u32, Version)> {
    let mut offset = ETHERTYPE_OFFSET;
    let mut tags = 0;
    loop {
        match u16::from_be(packet.header(offset)?) {
            IPV4 => return Some((offset + 2, Version::V4)),
            IPV6 => return Some((offset + 2, Version::V6)),
            VLAN | PROVIDER_VLAN if tags < MAX_VLANS => {
                offset += VLAN_LENGTH;
                tags += 1;
            }
            _ => return None,
        }
    }
}

#[inline(always)]
fn version_at(packet: &Packet, offset: u32) -> Option<Version> {
    match packet.load::<u8>(offset)? >> 4 {
        4 => Some(Version::V4),
        6 => Some(Version::V6),
        _ => None,
    }
}

/// How much of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Its beginning; other fragments follow.
    First,
    /// Not its beginning: without a transport header.
    Later,
}

impl Part {
    #[inline(always)]
    const fn of(offset: u32, more: bool) -> Self {
        match (offset, more) {
            (0, false) => Self::Whole,
            (0, true) => Self::First,
            _ => Self::Later,
        }
    }
}

/// An IP datagram.
#[derive(Clone, Copy)]
pub struct Datagram {
    network: (u32, Version),
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    protocol: u8,
    transport: u32,
    part: Part,
}

impl Datagram {
    /// Whether it carries TCP.
    #[inline(always)]
    pub const fn is_tcp(&self) -> bool {
        self.protocol == TCP
    }

    /// Whether it is a fragment without a transport header.
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        matches!(self.part, Part::Later)
    }

    /// The datagram as the accounting wants it, as far as it is known before its ports are.
    #[inline(always)]
    pub const fn connection(&self, netns: u64) -> Connection {
        Connection {
            netns,
            process: 0,
            source: self.source,
            source_port: 0,
            destination: self.destination,
            destination_port: 0,
        }
    }

    /// The TCP segment in it.
    #[inline(always)]
    pub fn segment(&self, packet: &Packet) -> Option<Segment> {
        if !self.is_tcp() || self.is_later_fragment() {
            return None;
        }
        let (ports, flags) = ports_and_flags(packet, self.transport, self.part)?;
        Some(self.segment_of(ports, flags))
    }

    /// The datagram that an ICMP error in this one is about.
    #[inline(always)]
    pub fn complained_of(&self, packet: &Packet) -> Option<Self> {
        if self.is_later_fragment() {
            return None;
        }
        let is_error = match (self.network.1, self.protocol, packet.load::<u8>(self.transport)?) {
            (Version::V4, ICMP, kind) => matches!(kind, 3 | 4 | 11 | 12),
            (Version::V6, ICMPV6, kind) => matches!(kind, 1..=4),
            _ => false,
        };
        if is_error {
            datagram_at(packet, self.transport + ICMP_LENGTH, self.network.1)
        } else {
            None
        }
    }

    /// The ports of a TCP segment of which an ICMP error shows the beginning only.
    #[inline(always)]
    pub fn ports_only(&self, packet: &Packet) -> Option<Segment> {
        if !self.is_tcp() || self.is_later_fragment() {
            return None;
        }
        Some(self.segment_of(packet.load(self.transport)?, 0))
    }

    #[inline(always)]
    fn segment_of(&self, [source_port, destination_port]: [u16; 2], flags: u8) -> Segment {
        Segment {
            network: self.network,
            transport: self.transport,
            source: self.source,
            destination: self.destination,
            source_port: u16::from_be(source_port),
            destination_port: u16::from_be(destination_port),
            flags,
        }
    }
}

#[inline(always)]
fn in_ipv4(packet: &Packet, network: u32) -> Option<Datagram> {
    let header: [u32; 5] = packet.header(network)?;
    let [version_and_length, ..] = header[0].to_ne_bytes();
    let length = u32::from(version_and_length & 0x0f) * 4;
    let [_, protocol, ..] = header[2].to_ne_bytes();
    if version_and_length >> 4 != 4 || length < IPV4_LENGTH {
        return None;
    }
    let fragment = u32::from_be(header[1]);
    Some(Datagram {
        network: (network, Version::V4),
        source: Address::from_v4(header[3]),
        destination: Address::from_v4(header[4]),
        protocol,
        transport: network + length,
        part: Part::of(fragment & 0x1fff, fragment & 0x2000 != 0),
    })
}

#[inline(always)]
fn in_ipv6(packet: &Packet, network: u32) -> Option<Datagram> {
    let header: [u32; 10] = packet.header(network)?;
    let [version, ..] = header[0].to_ne_bytes();
    if version >> 4 != 6 {
        return None;
    }
    let [_, _, next, _] = header[1].to_ne_bytes();
    let (protocol, transport, part) = below_extensions(packet, next, network + IPV6_LENGTH)?;
    Some(Datagram {
        network: (network, Version::V6),
        source: Address {
            words: [header[2], header[3], header[4], header[5]],
        },
        destination: Address {
            words: [header[6], header[7], header[8], header[9]],
        },
        protocol,
        transport,
        part,
    })
}

/// Walks over the extension headers to what they extend. A later fragment has none of them below its own.
#[inline(always)]
fn below_extensions(packet: &Packet, first: u8, offset: u32) -> Option<(u8, u32, Part)> {
    let (mut next, mut offset) = (first, offset);
    let mut part = Part::Whole;
    let mut walked = 0;
    while is_extension(next) {
        if walked == MAX_EXTENSIONS {
            return None;
        }
        let [following, length, high, low]: [u8; 4] = packet.load(offset)?;
        offset += match next {
            AUTHENTICATION => (u32::from(length) + 2) * 4,
            FRAGMENT => {
                let fragment = u16::from_be_bytes([high, low]);
                part = Part::of(u32::from(fragment & 0xfff8), fragment & 1 != 0);
                8
            }
            _ => (u32::from(length) + 1) * 8,
        };
        next = following;
        if matches!(part, Part::Later) {
            break;
        }
        walked += 1;
    }
    Some((next, offset, part))
}

#[inline(always)]
const fn is_extension(header: u8) -> bool {
    matches!(
        header,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY
    )
}

/// The beginning of the TCP header up to its flags. A first fragment that ends before them hides them, which only a
/// forger does: it is taken for the worst, a new connection.
#[inline(always)]
fn ports_and_flags(packet: &Packet, transport: u32, part: Part) -> Option<([u16; 2], u8)> {
    if let Some(header) = packet.header::<[u16; 7]>(transport) {
        let [_, flags] = header[6].to_ne_bytes();
        return Some(([header[0], header[1]], flags));
    }
    if matches!(part, Part::First) {
        Some((packet.load(transport)?, SYN))
    } else {
        None
    }
}
