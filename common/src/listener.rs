//! ztunnel's listening sockets.

use crate::shared;

/// How many listeners on one port are remembered per pod: ztunnels overlap while one replaces another.
pub const SLOTS: u32 = 4;

/// Key of the map of listeners.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    /// The pod's netns cookie.
    pub netns: u64,
    /// Its port, in host byte order.
    pub port: u32,
    /// Which of the [`SLOTS`].
    pub slot: u32,
}
shared!(ListenerKey);

/// Key of the map that says which slot holds the newest listener.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortKey {
    /// The pod's netns cookie.
    pub netns: u64,
    /// The port, in host byte order.
    pub port: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}
shared!(PortKey);
