//! As much of Ethernet, IP and TCP as tests ask about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::mac::Mac;

const ETHERNET: usize = 14;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const IPV6: usize = 40;
const PROTOCOL_TCP: u8 = 6;

/// One Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its source.
    pub source: Option<Mac>,
    /// Its destination.
    pub destination: Option<Mac>,
    /// Its EtherType.
    pub ethertype: u16,
    /// Whether this host sent it.
    pub outgoing: bool,
    /// The IP addresses, source first.
    pub ip: Option<(IpAddr, IpAddr)>,
    /// The IP protocol; of IPv6 the next header, whatever that is.
    pub protocol: Option<u8>,
    /// The TCP segment in it, unless it is a later fragment or behind IPv6 extension headers.
    pub tcp: Option<Segment>,
}

/// A TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// Its flags.
    pub flags: TcpFlags,
    /// The length of its payload.
    pub payload: usize,
    /// Whether this host sent it.
    pub outgoing: bool,
}

/// The flags of a TCP segment that tests ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags {
    /// Opens a connection.
    pub syn: bool,
    /// Acknowledges.
    pub ack: bool,
    /// Closes one direction.
    pub fin: bool,
    /// Aborts.
    pub rst: bool,
}

struct Packet<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    first_fragment: bool,
    // May be cut short by the capture; its true length is next to it.
    payload: &'a [u8],
    length: usize,
}

impl Frame {
    /// Reads what is there; a part that is cut short or unknown is left out.
    pub(super) fn read(bytes: &[u8], outgoing: bool) -> Self {
        let ethertype = number(bytes, 12).unwrap_or_default();
        let packet = bytes.get(ETHERNET..).and_then(|body| match ethertype {
            TYPE_IPV4 => read_ipv4(body),
            TYPE_IPV6 => read_ipv6(body),
            _ => None,
        });
        Self {
            destination: bytes.get(..6).and_then(Mac::from_slice),
            source: bytes.get(6..12).and_then(Mac::from_slice),
            ethertype,
            outgoing,
            ip: packet.as_ref().map(|packet| (packet.source, packet.destination)),
            protocol: packet.as_ref().map(|packet| packet.protocol),
            tcp: packet.and_then(|packet| read_tcp(&packet, outgoing)),
        }
    }
}

fn read_ipv4(body: &[u8]) -> Option<Packet<'_>> {
    let header = usize::from(body.first()? & 0x0f) * 4;
    let address = |at: usize| {
        <[u8; 4]>::try_from(body.get(at..at + 4)?)
            .ok()
            .map(Ipv4Addr::from)
    };
    Some(Packet {
        source: address(12)?.into(),
        destination: address(16)?.into(),
        protocol: *body.get(9)?,
        first_fragment: number(body, 6)? & 0x1fff == 0,
        payload: body.get(header..)?,
        length: usize::from(number(body, 2)?).checked_sub(header)?,
    })
}

fn read_ipv6(body: &[u8]) -> Option<Packet<'_>> {
    let address = |at: usize| {
        <[u8; 16]>::try_from(body.get(at..at + 16)?)
            .ok()
            .map(Ipv6Addr::from)
    };
    Some(Packet {
        source: address(8)?.into(),
        destination: address(24)?.into(),
        protocol: *body.get(6)?,
        first_fragment: true,
        payload: body.get(IPV6..)?,
        length: usize::from(number(body, 4)?),
    })
}

fn read_tcp(packet: &Packet<'_>, outgoing: bool) -> Option<Segment> {
    if packet.protocol != PROTOCOL_TCP || !packet.first_fragment {
        return None;
    }
    let bits = *packet.payload.get(13)?;
    let header = usize::from(packet.payload.get(12)? >> 4) * 4;
    Some(Segment {
        source: SocketAddr::new(packet.source, number(packet.payload, 0)?),
        destination: SocketAddr::new(packet.destination, number(packet.payload, 2)?),
        flags: TcpFlags {
            fin: bits & 0x01 != 0,
            syn: bits & 0x02 != 0,
            rst: bits & 0x04 != 0,
            ack: bits & 0x10 != 0,
        },
        payload: packet.length.saturating_sub(header),
        outgoing,
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
