//! Captured connections that are still open in a pod's netns.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use weir_common::address::Address;

use super::EnrollError;
use crate::inside;

/// States of sockets that are no connections any more, or none yet: TIME_WAIT, CLOSE, LISTEN.
const NOT_OPEN: [&str; 3] = ["06", "07", "0A"];

/// How many sockets captured connections have in the netns of a pod with the addresses `own`. It is by their local
/// address that they are known: ztunnel answers for the world there, and connects from its clients' addresses.
///
/// # Errors
/// [`EnrollError::Netns`] if the netns cannot be entered.
pub fn sockets(netns: BorrowedFd<'_>, own: &[Address]) -> Result<usize, EnrollError> {
    Ok(inside::run(netns, || {
        ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
            .into_iter()
            // A kernel without IPv6 has no second table.
            .map(|table| fs::read_to_string(table).unwrap_or_default())
            .map(|table| table.lines().filter(|line| is_captured(line, own)).count())
            .sum()
    })?)
}

fn is_captured(line: &str, own: &[Address]) -> bool {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1).and_then(parse_address);
    let state = fields.nth(1);
    match (local, state) {
        (Some(local), Some(state)) => {
            !NOT_OPEN.contains(&state)
                && !local.is_loopback()
                && !local.is_unspecified()
                && !own.contains(&Address::from(local))
        }
        _ => false,
    }
}

/// The address of `address:port`, which the kernel prints as words in its own byte order; a mapped one is IPv4.
fn parse_address(text: &str) -> Option<IpAddr> {
    let (address, _) = text.split_once(':')?;
    let word = |at: usize| {
        Some(
            u32::from_str_radix(address.get(at..at + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        )
    };
    match address.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::from(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use std::net::IpAddr;

    use weir_common::address::Address;

    use super::{is_captured, parse_address};

    const LINE: &str = "   3: 0A00F40A:1F90 0100F40A:C350 01 00000000:00000000 00:00000000 00000000     0        0 39842 1 0000000000000000 20 4 30 10 -1";

    #[test]
    fn addresses_are_read_from_the_kernels_table() {
        let read = |text| parse_address(text).map(|address: IpAddr| address.to_string());
        assert_eq!(read("0A00F40A:1F90").as_deref(), Some("10.244.0.10"));
        assert_eq!(
            read("0000000000000000FFFF00000A00F40A:1F90").as_deref(),
            Some("10.244.0.10")
        );
        assert_eq!(
            read("440200FD00000000000000000A000000:1F90").as_deref(),
            Some("fd00:244::a")
        );
        assert_eq!(read("local_address"), None);
    }

    #[test]
    fn connections_with_foreign_local_addresses_are_captured() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        let other = [address("10.244.0.11")];
        assert!(is_captured(LINE, &other));
        assert!(!is_captured(LINE, &[other[0], address("10.244.0.10")]));
        for state in [" 06 ", " 07 ", " 0A "] {
            assert!(!is_captured(&LINE.replace(" 01 ", state), &other), "{state}");
        }
        assert!(!is_captured(
            &LINE.replace("0A00F40A:1F90", "0100007F:1F90"),
            &other
        ));
        assert!(!is_captured(
            "  sl  local_address rem_address   st tx_queue",
            &other
        ));
    }
}
