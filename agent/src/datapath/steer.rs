//! Pods that are reached by Ethernet address (node contract, macvlan in bridge mode): programs at the pod's own
//! interface, at that of ztunnel beside it, and at the parent of both.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use aya::programs::TcAttachType;

use super::interface::{Hook, Interface, Role, put, take_away};
use super::redirect::target;
use super::{Datapath, DatapathError, Pins, object};
use crate::inside;

/// Such interfaces are Ethernet's by their nature: there is no variant without its header.
const fn role(program: &'static str, direction: TcAttachType) -> Role {
    Role {
        ethernet: program,
        ip: program,
        direction,
    }
}

pub(super) const STEER_OUT: Role = role("weir_steer_out", TcAttachType::Egress);
/// At a pod's own interface. What checks frames that are sent on comes before what sends them.
const OF_POD: [Role; 2] = [STEER_OUT, role("weir_steer_in", TcAttachType::Ingress)];
/// At ztunnel's own interface.
const OF_ZTUNNEL: [Role; 2] = [
    role("weir_steer_back", TcAttachType::Egress),
    role("weir_ztunnel_in", TcAttachType::Ingress),
];
/// At the parent of both.
const OF_PARENT: [Role; 1] = [role("weir_steer_fence", TcAttachType::Egress)];

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
        hook: Hook,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        self.pins.create_pod_directory(cookie)?;
        self.put_all(Site::pod(netns, cookie), &OF_POD, hook, interfaces)
    }

    /// Steers what passes exactly these interfaces of the pod. (Filters at others, where the kernel has no links, go
    /// with their interface.)
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn steer_exactly(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        hook: Hook,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        if !interfaces.is_empty() {
            self.attach_steering(netns, cookie, hook, interfaces)?;
        }
        let mut stale: Vec<u32> = self
            .pins
            .pod_links(cookie)?
            .iter()
            .filter_map(|pin| STEER_OUT.index_of_pin(pin))
            .collect();
        stale.retain(|index| interfaces.iter().all(|interface| interface.index != *index));
        self.detach_steering(netns, cookie, hook, &stale)
    }

    /// Whether all programs of the pod run at this interface of its own; filters without links are believed to.
    ///
    /// # Errors
    /// [`DatapathError`] if a link cannot be read.
    pub fn steering_attached(&self, cookie: u64, hook: Hook, interface: u32) -> Result<bool, DatapathError> {
        if hook == Hook::Clsact {
            return Ok(true);
        }
        for role in OF_POD {
            if target(&self.pins.pod_link(cookie, &role.pin(interface)))? != Some(interface) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends steering at these interfaces of the pod, as far as they are there.
    ///
    /// # Errors
    /// The first [`DatapathError`].
    pub fn detach_steering(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        hook: Hook,
        interfaces: &[u32],
    ) -> Result<(), DatapathError> {
        self.take_all(Site::pod(netns, cookie), &OF_POD, hook, interfaces)
    }

    /// Makes these interfaces of ztunnel take what is steered to them, and tag what goes back.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn attach_steering_of_ztunnel(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        hook: Hook,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        self.pins.create_place_directory(cookie)?;
        self.put_all(Site::place(netns, cookie), &OF_ZTUNNEL, hook, interfaces)
    }

    /// Ends that at these interfaces of ztunnel, as far as they are there.
    ///
    /// # Errors
    /// The first [`DatapathError`].
    pub fn detach_steering_of_ztunnel(
        &self,
        netns: BorrowedFd<'_>,
        cookie: u64,
        hook: Hook,
        interfaces: &[u32],
    ) -> Result<(), DatapathError> {
        self.take_all(Site::place(netns, cookie), &OF_ZTUNNEL, hook, interfaces)
    }

    /// Lets nothing that is for ztunnel leave the node by these interfaces, the parents of pods' own.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn attach_fence(
        &self,
        host: BorrowedFd<'_>,
        cookie: u64,
        hook: Hook,
        parents: &[Interface],
    ) -> Result<(), DatapathError> {
        self.pins.create_place_directory(cookie)?;
        self.put_all(Site::place(host, cookie), &OF_PARENT, hook, parents)
    }

    /// Takes all fences away; those are the parents.
    ///
    /// # Errors
    /// The first [`DatapathError`].
    pub fn detach_fences(
        &self,
        host: BorrowedFd<'_>,
        cookie: u64,
        hook: Hook,
        parents: &[u32],
    ) -> Result<(), DatapathError> {
        let taken = self.take_all(Site::place(host, cookie), &OF_PARENT, hook, parents);
        taken.and(self.pins.remove_place(cookie))
    }

    fn put_all(
        &self,
        site: Site<'_>,
        roles: &[Role],
        hook: Hook,
        interfaces: &[Interface],
    ) -> Result<(), DatapathError> {
        inside::run(site.netns, || {
            let mut object = self.loader.load_for_pod(object::REDIRECT, site.cookie)?;
            for interface in interfaces {
                for role in roles {
                    let pin = site.pin(&self.pins, *role, interface.index);
                    put(&mut object, &pin, *role, hook, interface)?;
                }
            }
            Ok(())
        })?
    }

    fn take_all(
        &self,
        site: Site<'_>,
        roles: &[Role],
        hook: Hook,
        interfaces: &[u32],
    ) -> Result<(), DatapathError> {
        inside::run(site.netns, || {
            // What sends frames on goes before what checks them.
            let mut each = interfaces
                .iter()
                .flat_map(|index| roles.iter().rev().map(move |role| (*role, *index)));
            each.try_for_each(|(role, index)| {
                take_away(&site.pin(&self.pins, role, index), role, hook, index)
            })
        })?
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
