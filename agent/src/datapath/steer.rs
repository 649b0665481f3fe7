//! Pods that are reached by Ethernet address (node contract, macvlan in bridge mode): programs at the pod's own
//! interface, at that of ztunnel beside it, and at the parent of both.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use aya::programs::TcAttachType;
use netlink_packet_route::tc::TcMessage;

use super::interface::{Hook, Interface, Role, put};
use super::redirect::ZTUNNEL_IN;
use super::{Datapath, DatapathError, Pins, filter, object};
use crate::inside;

// Such interfaces are Ethernet's by their nature.
pub(super) const STEER_OUT: Role = Role::of_ethernet("weir_steer_out", TcAttachType::Egress, 8);
pub(super) const STEER_IN: Role = Role::of_ethernet("weir_steer_in", TcAttachType::Ingress, 9);
pub(super) const STEER_BACK: Role = Role::of_ethernet("weir_steer_back", TcAttachType::Egress, 10);
pub(super) const STEER_FENCE: Role = Role::of_ethernet("weir_steer_fence", TcAttachType::Egress, 11);

/// At a pod's own interface. What checks frames that are sent on comes before what sends them.
const OF_POD: [Role; 2] = [STEER_OUT, STEER_IN];
/// At ztunnel's own interface.
const OF_ZTUNNEL: [Role; 2] = [STEER_BACK, ZTUNNEL_IN];
/// At the parent of both.
const OF_PARENT: [Role; 1] = [STEER_FENCE];

/// Where programs are: a netns, and where their links are pinned.
#[derive(Clone, Copy)]
struct Site<'a> {
    netns: BorrowedFd<'a>,
    cookie: u64,
    pin: fn(&Pins, u64, &str) -> PathBuf,
}

impl Datapath {
    /// Steers what passes these interfaces of the pod; the maps have to know the pod and ztunnel first. Repeating it
    /// brings the programs up to date.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn attach_steering(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        self.pins.create_pod_directory(cookie)?;
        self.put_all(Site::pod(netns, cookie), &OF_POD, interfaces)
    }

    /// Steers what passes exactly these interfaces of the pod; none ends steering.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn steer_exactly(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        if !interfaces.is_empty() {
            self.attach_steering(netns, cookie, interfaces)?;
        }
        inside::run(netns, || {
            // What sends frames on goes before what checks them.
            let mut roles = OF_POD.iter().rev();
            roles.try_for_each(|role| self.clear(cookie, *role, interfaces))
        })?
    }

    /// Whether all programs of the pod run at this interface of its own, which has these filters.
    ///
    /// # Errors
    /// [`DatapathError`] if a link cannot be read.
    pub fn steering_attached(
        &self,
        cookie: u64,
        interface: u32,
        filters: &[TcMessage],
    ) -> Result<bool, DatapathError> {
        self.run_at(cookie, &OF_POD, interface, filters)
    }

    /// Makes these interfaces of ztunnel take what is steered to them, and tag what goes back.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn attach_steering_of_ztunnel(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        self.pins.create_place_directory(cookie)?;
        self.put_all(Site::place(netns, cookie), &OF_ZTUNNEL, interfaces)
    }

    /// Ends that at all interfaces of ztunnel.
    ///
    /// # Errors
    /// The first [`DatapathError`].
    pub fn detach_steering_of_ztunnel(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
    ) -> Result<(), DatapathError> {
        self.abandon(netns, cookie, &OF_ZTUNNEL)
    }

    /// Lets nothing that is for ztunnel leave the node by these interfaces, the parents of pods' own.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn attach_fence(
        &self,
        host: BorrowedFd<'_>,
        cookie: u64,
        parents: &[Interface],
    ) -> Result<(), DatapathError> {
        self.pins.create_place_directory(cookie)?;
        self.put_all(Site::place(host, cookie), &OF_PARENT, parents)
    }

    /// Takes all fences away.
    ///
    /// # Errors
    /// The first [`DatapathError`].
    pub fn detach_fences(&self, host: BorrowedFd<'_>, cookie: u64) -> Result<(), DatapathError> {
        self.abandon(host, cookie, &OF_PARENT)
    }

    fn put_all(&self, site: Site<'_>, roles: &[Role], interfaces: &[Interface]) -> Result<(), DatapathError> {
        inside::run(site.netns, || {
            self.maps.expect_redirects();
            let mut object = self.loader.load_for_pod(object::REDIRECT, site.cookie)?;
            for interface in interfaces {
                for role in roles {
                    let pin = site.pin(&self.pins, *role, interface.index);
                    put(&mut object, &pin, *role, self.hook, interface)?;
                }
            }
            Ok(())
        })?
    }

    /// Links go with their pins, filters one by one.
    fn abandon(&self, netns: BorrowedFd<'_>, cookie: u64, roles: &[Role]) -> Result<(), DatapathError> {
        if self.hook == Hook::Clsact {
            inside::run(netns, || {
                let mut roles = roles.iter();
                roles.try_for_each(|role| filter::clear(*role, &BTreeSet::new()))
            })??;
        }
        self.pins.remove_place(cookie)
    }
}

impl<'a> Site<'a> {
    const fn pod(netns: BorrowedFd<'a>, cookie: u64) -> Self {
        let pin = Pins::pod_link;
        Self { netns, cookie, pin }
    }

    const fn place(netns: BorrowedFd<'a>, cookie: u64) -> Self {
        let pin = Pins::place_link;
        Self { netns, cookie, pin }
    }

    fn pin(&self, pins: &Pins, role: Role, index: u32) -> PathBuf {
        (self.pin)(pins, self.cookie, &role.pin(index))
    }
}
