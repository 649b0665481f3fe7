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
/// count of either range.
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

/// Whether ztunnel may be given this port.
#[must_use]
#[inline(always)]
pub const fn contain(port: u16) -> bool {
    ABOVE.contains(port) || BELOW.contains(port)
}

#[cfg(test)]
mod tests {
    use super::{ABOVE, BELOW, STRIDE, contain};

    #[test]
    fn every_port_of_a_range_has_its_turn() {
        for ports in [ABOVE, BELOW] {
            let mut seen = [false; 65536];
            for turn in 0..ports.count {
                let port = ports.port(turn * STRIDE);
                assert!(contain(port), "{port}");
                assert!(!seen[usize::from(port)], "{port} twice");
                seen[usize::from(port)] = true;
            }
        }
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
