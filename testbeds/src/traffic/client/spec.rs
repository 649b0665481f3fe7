//! How a client is to connect.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::traffic::socket;

/// How a client connects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientSpec {
    /// Where to.
    pub to: SocketAddr,
    /// The source address; port 0 lets the kernel choose one.
    pub bind_source: Option<SocketAddr>,
    /// The interface for `SO_BINDTODEVICE`.
    pub bind_device: Option<String>,
    /// Whether to use an IPv6 socket for an IPv4 destination.
    pub v4_mapped: bool,
    /// Whether to connect without blocking and poll.
    pub nonblocking: bool,
    /// Whether to set `SO_REUSEADDR` before binding.
    pub reuse_address: bool,
    /// Whether to set `IP_TRANSPARENT`, for a source that is not this host's.
    pub transparent: bool,
    /// Whether to ask for MPTCP, of which the kernel makes TCP connections by itself.
    pub multipath: bool,
    /// The socket's mark.
    pub mark: Option<u32>,
    /// How long each step may take.
    pub deadline: Duration,
}

impl ClientSpec {
    /// A plain client of a server.
    pub fn to(to: SocketAddr) -> Self {
        Self {
            to,
            bind_source: None,
            bind_device: None,
            v4_mapped: false,
            nonblocking: false,
            reuse_address: false,
            transparent: false,
            multipath: false,
            mark: None,
            deadline: Duration::from_secs(5),
        }
    }

    /// Binds to a source address first.
    pub fn from(mut self, source: IpAddr) -> Self {
        self.bind_source = Some(SocketAddr::new(source, 0));
        self
    }

    /// Binds to a source address and port first.
    pub fn from_port(mut self, source: SocketAddr) -> Self {
        self.bind_source = Some(source);
        self
    }

    /// Binds to an interface first.
    pub fn device(mut self, interface: &str) -> Self {
        self.bind_device = Some(interface.to_owned());
        self
    }

    /// Uses an IPv6 socket for an IPv4 destination.
    pub fn v4_mapped(mut self) -> Self {
        self.v4_mapped = true;
        self
    }

    /// Connects without blocking.
    pub fn nonblocking(mut self) -> Self {
        self.nonblocking = true;
        self
    }

    /// Asks for MPTCP.
    pub fn multipath(mut self) -> Self {
        self.multipath = true;
        self
    }

    /// Marks the socket.
    pub fn mark(mut self, mark: u32) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Uses a source that is not this host's.
    pub fn transparent(mut self) -> Self {
        self.transparent = true;
        self
    }

    /// Limits each step.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(super) fn destination(&self) -> SocketAddr {
        if self.v4_mapped {
            socket::v4_mapped(self.to)
        } else {
            self.to
        }
    }
}
