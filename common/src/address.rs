//! Addresses as the kernel side compares them.

use core::net::{IpAddr, Ipv6Addr};

use crate::shared;

/// An IPv6 address, or an IPv4 address mapped into IPv6, in network byte order: one form for both families.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address {
    /// The four words as they lie in a packet.
    pub words: [u32; 4],
}
shared!(Address);

/// Third word of an IPv4-mapped address: `::ffff:a.b.c.d`.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Address {
    /// 127.0.0.1, mapped.
    pub const LOOPBACK_V4: Self = Self::from_v4(0x7f00_0001_u32.to_be());
    /// `::1`.
    pub const LOOPBACK_V6: Self = Self {
        words: [0, 0, 0, 1_u32.to_be()],
    };

    /// From an IPv4 address in network byte order.
    #[must_use]
    #[inline(always)]
    pub const fn from_v4(word: u32) -> Self {
        Self {
            words: [0, 0, MAPPED, word],
        }
    }

    /// The IPv4 address in network byte order, if this is one.
    #[must_use]
    #[inline(always)]
    pub const fn as_v4(&self) -> Option<u32> {
        let [first, second, third, last] = self.words;
        if first == 0 && second == 0 && third == MAPPED {
            Some(last)
        } else {
            None
        }
    }

    /// 127.0.0.0/8 or `::1`.
    #[must_use]
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        match self.as_v4() {
            Some(word) => word.to_ne_bytes()[0] == 127,
            None => self.is_zero_but_last() && self.words[3] == 1_u32.to_be(),
        }
    }

    /// 0.0.0.0 or `::`, which a connect takes for loopback.
    #[must_use]
    #[inline(always)]
    pub const fn is_unspecified(&self) -> bool {
        match self.as_v4() {
            Some(word) => word == 0,
            None => self.is_zero_but_last() && self.words[3] == 0,
        }
    }

    /// fe80::/10: such a connection is bound to its link and cannot be routed to ztunnel.
    #[must_use]
    #[inline(always)]
    pub const fn is_v6_link_local(&self) -> bool {
        let [first, second, ..] = self.words[0].to_ne_bytes();
        first == 0xfe && second & 0xc0 == 0x80
    }

    /// Whether both are the same, told at once: comparing arrays calls a function.
    #[must_use]
    #[inline(always)]
    pub const fn is(&self, other: Self) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.words, other.words);
        // The last words differ most often.
        d == h && c == g && b == f && a == e
    }

    #[inline(always)]
    const fn is_zero_but_last(&self) -> bool {
        self.words[0] == 0 && self.words[1] == 0 && self.words[2] == 0
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let word = |n: usize| u32::from_ne_bytes([octets[n], octets[n + 1], octets[n + 2], octets[n + 3]]);
        Self {
            words: [word(0), word(4), word(8), word(12)],
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        let mut octets = [0; 16];
        for (chunk, word) in octets.chunks_exact_mut(4).zip(address.words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        Self::V6(Ipv6Addr::from(octets)).to_canonical()
    }
}

/// Key of the map of addresses that belong to a pod.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnAddress {
    /// The pod's netns cookie.
    pub netns: u64,
    /// One of its addresses.
    pub address: Address,
}
shared!(OwnAddress);

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::Address;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        for text in ["10.1.2.3", "fd00::1:2", "127.0.0.1", "::1", "0.0.0.0"] {
            assert_eq!(IpAddr::from(address(text)), text.parse::<IpAddr>().unwrap());
        }
        assert_eq!(address("127.0.0.1"), Address::LOOPBACK_V4);
        assert_eq!(address("::1"), Address::LOOPBACK_V6);
        assert_eq!(
            address("10.1.2.3").as_v4(),
            Some(u32::from_ne_bytes([10, 1, 2, 3]))
        );
        assert_eq!(address("fd00::1").as_v4(), None);
    }

    #[test]
    fn the_special_addresses_are_told_apart() {
        for (text, loopback, unspecified, link_local) in [
            ("127.0.0.1", true, false, false),
            ("127.200.0.9", true, false, false),
            ("128.0.0.1", false, false, false),
            ("::1", true, false, false),
            ("::2", false, false, false),
            ("0.0.0.0", false, true, false),
            ("::", false, true, false),
            ("fe80::1", false, false, true),
            ("febf::1", false, false, true),
            ("fec0::1", false, false, false),
            ("169.254.1.1", false, false, false),
        ] {
            let address = address(text);
            assert_eq!(address.is_loopback(), loopback, "{text}");
            assert_eq!(address.is_unspecified(), unspecified, "{text}");
            assert_eq!(address.is_v6_link_local(), link_local, "{text}");
        }
    }
}
