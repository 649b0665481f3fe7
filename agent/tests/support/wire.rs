//! The proof that nothing strays: every TCP segment on a pod's interface must belong to a connection that is meant to
//! be there.

use std::net::{IpAddr, SocketAddr};

use weir_testbeds::capture::{Capture, Segment};
use weir_testbeds::world::Pod;

/// A pod's `eth0`, watched since this was made.
pub struct Wire {
    capture: Capture,
    own: Vec<IpAddr>,
}

impl Wire {
    pub fn of(pod: &Pod) -> Self {
        Self {
            capture: Capture::start(&pod.netns, &pod.primary.interface).unwrap(),
            own: pod.addresses().iter().collect(),
        }
    }

    /// All TCP segments so far.
    pub fn segments(&self) -> Vec<Segment> {
        self.capture.segments()
    }

    /// Nothing but `expected`, and something of that: an empty capture proves nothing.
    pub fn carried_only(&self, expected: impl Fn(&Segment) -> bool) {
        let segments = self.segments();
        let (fine, strays): (Vec<Segment>, Vec<Segment>) = segments.into_iter().partition(expected);
        assert!(!fine.is_empty(), "nothing passed at all");
        assert!(strays.is_empty(), "strays on the wire: {strays:#?}");
    }

    /// No TCP at all.
    pub fn was_silent(&self) {
        let segments = self.segments();
        assert!(segments.is_empty(), "strays on the wire: {segments:#?}");
    }

    /// The pod's side of a segment.
    pub fn pod_side(&self, segment: &Segment) -> SocketAddr {
        if self.own.contains(&segment.source.ip()) {
            segment.source
        } else {
            segment.destination
        }
    }
}

/// Whether a segment belongs to the connection between these two.
pub fn between(segment: &Segment, one: SocketAddr, other: SocketAddr) -> bool {
    [(one, other), (other, one)].contains(&(segment.source, segment.destination))
}

/// Whether a segment belongs to a connection with this end.
pub fn with(segment: &Segment, end: SocketAddr) -> bool {
    [segment.source, segment.destination].contains(&end)
}

/// Whether a segment belongs to a tunnel between proxies.
pub fn in_tunnel(segment: &Segment) -> bool {
    [segment.source.port(), segment.destination.port()].contains(&weir_common::ports::HBONE)
}
