//! Client ports under which ztunnel speaks to applications for their clients: chosen so that clients are not likely to
//! take them for themselves. Only where one does, both have to be told apart.

/// A range of ports.
pub struct Ports {
    first: u32,
    count: u32,
}

/// Above those that Linux gives to clients by default.
pub const ABOVE: Ports = Ports {
    first: 61000,
    count: 65536 - 61000,
};
/// Below them, where services seldom listen.
pub const BELOW: Ports = Ports {
    first: 16384,
    count: 32768 - 16384,
};
/// From one port that is tried to the next. Ports in use come in long rows; the step has no factor in common with the
/// count of either range, nor with both counts together.
pub const STRIDE: u32 = 521;

impl Ports {
    /// The range's port when it is `turn`'s turn.
    #[must_use]
    #[inline(always)]
    pub const fn port(&self, turn: u32) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "below 65536 by construction")]
        let port = (self.first + turn % self.count) as u16;
        port
    }

    #[inline(always)]
    const fn contains(&self, port: u16) -> bool {
        (port as u32).wrapping_sub(self.first) < self.count
    }
}

/// The port of both ranges together when it is `turn`'s turn: each rests as long as it can.
#[must_use]
#[inline(always)]
pub const fn of_both(turn: u32) -> u16 {
    let turn = turn % (ABOVE.count + BELOW.count);
    if turn < ABOVE.count {
        ABOVE.port(turn)
    } else {
        BELOW.port(turn - ABOVE.count)
    }
}

/// Whether ztunnel may be given this port.
#[must_use]
#[inline(always)]
pub const fn contain(port: u16) -> bool {
    ABOVE.contains(port) || BELOW.contains(port)
}

#[cfg(test)]
mod tests {
    use super::{ABOVE, BELOW, STRIDE, contain, of_both};

    fn assert_each_once(count: u32, port: impl Fn(u32) -> u16) {
        let mut seen = [false; 65536];
        for turn in 0..count {
            let port = port(turn * STRIDE);
            assert!(contain(port), "{port}");
            assert!(!seen[usize::from(port)], "{port} twice");
            seen[usize::from(port)] = true;
        }
    }

    #[test]
    fn every_port_of_a_range_has_its_turn() {
        for ports in [ABOVE, BELOW] {
            assert_each_once(ports.count, |turn| ports.port(turn));
        }
        assert_each_once(ABOVE.count + BELOW.count, of_both);
    }

    #[test]
    fn ports_of_services_and_of_linux_clients_are_not_given() {
        for port in [0, 80, 15001, 15008, 16383, 32768, 45000, 60999] {
            assert!(!contain(port), "{port}");
        }
        for port in [16384, 32767, 61000, 65535] {
            assert!(contain(port), "{port}");
        }
    }
}
