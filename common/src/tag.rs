//! The tag by which ztunnel's side knows a redirected frame: its source Ethernet address, which survives the way into
//! another netns and the merging of packets, as nothing else does.

/// Bytes of an Ethernet address.
pub const MAC_LENGTH: usize = 6;

/// The locally administered prefix of all tags.
const PREFIX: [u8; 2] = [0x02, 0x0a];

/// Which way a redirected connection was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Out of a pod: for ztunnel's port 15001.
    Outbound,
    /// To a pod: for ztunnel's port 15006, or 15008 if that is where it goes.
    Inbound,
    /// From ztunnel to a pod that is reached by Ethernet address.
    Served,
}

impl Direction {
    const fn byte(self) -> u8 {
        match self {
            Self::Outbound => 1,
            Self::Inbound => 2,
            Self::Served => 3,
        }
    }
}

/// The tag with this node's `secret`.
#[must_use]
#[inline(always)]
pub const fn of(direction: Direction, secret: [u8; 3]) -> [u8; MAC_LENGTH] {
    [
        PREFIX[0],
        PREFIX[1],
        direction.byte(),
        secret[0],
        secret[1],
        secret[2],
    ]
}

/// Whether `mac` looks like a tag, of this node or not.
#[must_use]
#[inline(always)]
pub const fn is_any(mac: [u8; MAC_LENGTH]) -> bool {
    mac[0] == PREFIX[0] && mac[1] == PREFIX[1] && mac[2] >= 1 && mac[2] <= 3
}

/// What the tag says, if it is one of this node's.
#[must_use]
#[inline(always)]
pub const fn read(mac: [u8; MAC_LENGTH], secret: [u8; 3]) -> Option<Direction> {
    if !is_any(mac) || mac[3] != secret[0] || mac[4] != secret[1] || mac[5] != secret[2] {
        None
    } else {
        Some(match mac[2] {
            1 => Direction::Outbound,
            2 => Direction::Inbound,
            _ => Direction::Served,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, is_any, of, read};

    const SECRET: [u8; 3] = [7, 8, 9];

    #[test]
    fn a_tag_says_which_way_and_is_this_nodes() {
        for direction in [Direction::Outbound, Direction::Inbound, Direction::Served] {
            let tag = of(direction, SECRET);
            assert!(is_any(tag));
            assert_eq!(tag[0] & 3, 2, "unicast, locally administered");
            assert_eq!(read(tag, SECRET), Some(direction));
            assert_eq!(read(tag, [7, 8, 10]), None);
        }
        for mac in [
            [2, 10, 4, 7, 8, 9],
            [2, 10, 0, 7, 8, 9],
            [2, 11, 1, 7, 8, 9],
            [0, 10, 1, 7, 8, 9],
        ] {
            assert!(!is_any(mac));
            assert_eq!(read(mac, SECRET), None);
        }
    }
}
