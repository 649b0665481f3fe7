//! The guard: finds connections that leave a pod without having gone through ztunnel.

use std::os::fd::BorrowedFd;

use aya::programs::TcAttachType;
use netlink_packet_route::tc::TcMessage;

use super::interface::{Interface, Role};
use super::{Datapath, DatapathError};

pub(super) const GUARD: Role = Role {
    ethernet: "weir_guard",
    ip: "weir_guard_ip",
    direction: TcAttachType::Egress,
    filter: 1,
};

impl Datapath {
    /// Guards exactly these interfaces of the pod: all that lead out of it. Repeating it brings them up to date.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface; those before it are guarded.
    pub fn attach_guard(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        self.place(netns, cookie, GUARD, interfaces)
    }

    /// Whether the guard stands at this interface of the pod, which has these filters.
    ///
    /// # Errors
    /// [`DatapathError`] if a link cannot be read.
    pub fn guard_attached(
        &self,
        cookie: u64,
        interface: u32,
        filters: &[TcMessage],
    ) -> Result<bool, DatapathError> {
        self.run_at(cookie, &[GUARD], interface, filters)
    }
}
