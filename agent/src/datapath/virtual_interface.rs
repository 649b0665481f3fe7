//! Interfaces inside a pod behind which its virtual machines are: what comes from there is the pod's outbound traffic.

use std::os::fd::BorrowedFd;

use aya::programs::TcAttachType;
use netlink_packet_route::tc::TcMessage;
use weir_common::interface::InterfaceKey;
use weir_common::names::map;

use super::interface::{Interface, Role};
use super::{Datapath, DatapathError, maps};

pub(super) const VIRTUAL: Role = Role {
    ethernet: "weir_virtual",
    ip: "weir_virtual_ip",
    direction: TcAttachType::Ingress,
    filter: 2,
};

impl Datapath {
    /// Captures TCP that comes from exactly these interfaces of the pod; `crate::enroll::routing` has the rules that
    /// must be there before. Repeating it brings them up to date.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn attach_virtual(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        self.set_virtual(cookie, interfaces)?;
        self.place(netns, cookie, VIRTUAL, interfaces)
    }

    /// Whether TCP from this interface of the pod, which has these filters, is captured.
    ///
    /// # Errors
    /// [`DatapathError`] if a link cannot be read.
    pub fn virtual_attached(
        &self,
        cookie: u64,
        interface: u32,
        filters: &[TcMessage],
    ) -> Result<bool, DatapathError> {
        self.run_at(cookie, &[VIRTUAL], interface, filters)
    }

    /// Makes the lookup of listeners know exactly these.
    fn set_virtual(&self, cookie: u64, interfaces: &[Interface]) -> Result<(), DatapathError> {
        let mut known = self.maps.virtual_interfaces()?;
        let wanted: Vec<InterfaceKey> = interfaces
            .iter()
            .map(|interface| key(cookie, interface.index))
            .collect();
        let stale: Vec<InterfaceKey> = known
            .keys()
            .filter_map(Result::ok)
            .filter(|key| key.netns == cookie && !wanted.contains(key))
            .collect();
        for key in wanted {
            known
                .insert(key, 1, 0)
                .map_err(maps::wrap(map::VIRTUAL_INTERFACES))?;
        }
        for key in stale {
            known.remove(&key).map_err(maps::wrap(map::VIRTUAL_INTERFACES))?;
        }
        Ok(())
    }
}

const fn key(netns: u64, index: u32) -> InterfaceKey {
    InterfaceKey {
        netns,
        index,
        reserved: 0,
    }
}
