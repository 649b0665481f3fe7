//! Interfaces inside a pod.

use crate::shared;

/// Key of the map of virtual interfaces: those behind which a pod's virtual machines are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InterfaceKey {
    /// The pod's netns cookie.
    pub netns: u64,
    /// The interface's index in that netns.
    pub index: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}
shared!(InterfaceKey);
