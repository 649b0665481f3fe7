//! Programs between pods and a ztunnel that has a netns of its own (node contract).

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use aya::Ebpf;
use aya::programs::TcAttachType;
use netlink_packet_route::tc::TcMessage;

use super::interface::{Hook, Interface, Role, put, take_away};
use super::steer::STEER_OUT;
use super::sys::LinkTarget;
use super::{Datapath, DatapathError, Pins, filter, links, object, sys};
use crate::inside;

// Ethernet addresses are what redirecting works by.
pub(super) const POD_OUT: Role = Role::of_ethernet("weir_pod_out", TcAttachType::Ingress, 3);
pub(super) const POD_IN: Role = Role::of_ethernet("weir_pod_in", TcAttachType::Egress, 4);
pub(super) const ZTUNNEL_OUT: Role = Role::of_ethernet("weir_ztunnel_out", TcAttachType::Ingress, 5);
pub(super) const ZTUNNEL_GATE: Role = Role::of_ethernet("weir_ztunnel_gate", TcAttachType::Egress, 6);
pub(super) const ZTUNNEL_IN: Role = Role::of_ethernet("weir_ztunnel_in", TcAttachType::Ingress, 7);

/// At the host's end of a pod's interface.
const OF_POD: [Role; 2] = [POD_OUT, POD_IN];
/// At the host's end of ztunnel's interface.
const OF_ZTUNNEL: [Role; 2] = [ZTUNNEL_GATE, ZTUNNEL_OUT];

impl Datapath {
    /// Loads the programs and makes their maps, or adopts those that are there; once.
    ///
    /// # Errors
    /// [`DatapathError`] names what the kernel refused.
    pub fn prepare_redirect(&self) -> Result<(), DatapathError> {
        self.with_redirect(|_| Ok(()))
    }

    /// Makes the programs of a pod run at the host's ends of its interfaces.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn attach_pod_peers(
        &self,
        host: BorrowedFd<'_>,
        cookie: u64,
        peers: &[Interface],
    ) -> Result<(), DatapathError> {
        self.pins.create_pod_directory(cookie)?;
        inside::run(host, || {
            self.with_redirect(|object| {
                for peer in peers {
                    for role in OF_POD {
                        let pin = self.pins.pod_link(cookie, &role.pin(peer.index));
                        put(object, &pin, role, self.hook, peer)?;
                    }
                }
                Ok(())
            })
        })?
    }

    /// Takes the programs of a pod away from the host's ends of interfaces, as far as they are there.
    ///
    /// # Errors
    /// The first [`DatapathError`]; the others are taken away all the same.
    pub fn detach_pod_peers(
        &self,
        host: BorrowedFd<'_>,
        cookie: u64,
        peers: &[u32],
    ) -> Result<(), DatapathError> {
        inside::run(host, || {
            let each = peers.iter().flat_map(|peer| OF_POD.map(|role| (role, *peer)));
            each.map(|(role, peer)| {
                let pin = self.pins.pod_link(cookie, &role.pin(peer));
                take_away(&pin, role, self.hook, peer)
            })
            .fold(Ok(()), Result::and)
        })?
    }

    /// Whether a program of the pod runs at an interface that is there.
    ///
    /// # Errors
    /// [`DatapathError`] if a link cannot be read.
    pub fn pod_peers_attached(&self, cookie: u64) -> Result<bool, DatapathError> {
        attached(&self.pins, cookie)
    }

    /// Whether all programs of the pod run at this interface of the node, which has these filters.
    ///
    /// # Errors
    /// [`DatapathError`] if a link cannot be read.
    pub fn pod_peer_attached(
        &self,
        cookie: u64,
        peer: u32,
        filters: &[TcMessage],
    ) -> Result<bool, DatapathError> {
        self.run_at(cookie, &OF_POD, peer, filters)
    }

    /// Whether the programs of a pod in these roles run at an interface.
    pub(super) fn run_at(
        &self,
        cookie: u64,
        roles: &[Role],
        interface: u32,
        filters: &[TcMessage],
    ) -> Result<bool, DatapathError> {
        for role in roles {
            let runs = match self.hook {
                Hook::Tcx => target(&self.pins.pod_link(cookie, &role.pin(interface)))? == Some(interface),
                Hook::Clsact => filters.iter().any(|found| filter::is_of(*role, found)),
            };
            if !runs {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes ztunnel's programs run: at the host's end of its interface, and at its own.
    ///
    /// # Errors
    /// [`DatapathError`] names the interface.
    pub fn attach_ztunnel(
        &self,
        (host, outer): (BorrowedFd<'_>, &Interface),
        (netns, inner): (BorrowedFd<'_>, &Interface),
        cookie: u64,
    ) -> Result<(), DatapathError> {
        self.pins.create_place_directory(cookie)?;
        let attach = |netns, roles: &[Role], interface: &Interface| {
            inside::run(netns, || {
                self.with_redirect(|object| {
                    roles.iter().try_for_each(|role| {
                        put(
                            object,
                            &self.ztunnel_pin(cookie, *role, interface.index),
                            *role,
                            self.hook,
                            interface,
                        )
                    })
                })
            })?
        };
        attach(netns, &[ZTUNNEL_IN], inner)?;
        attach(host, &OF_ZTUNNEL, outer)
    }

    /// Takes ztunnel's programs away, as far as they are there; a namespace that is gone has taken its own with it.
    ///
    /// # Errors
    /// [`DatapathError`]; what could be taken away is.
    pub fn detach_ztunnel(
        &self,
        (host, outer): (BorrowedFd<'_>, u32),
        inner: Option<(BorrowedFd<'_>, u32)>,
        cookie: u64,
    ) -> Result<(), DatapathError> {
        let detach = |netns, roles: &[Role], interface: u32| {
            inside::run(netns, || {
                roles.iter().try_for_each(|role| {
                    take_away(
                        &self.ztunnel_pin(cookie, *role, interface),
                        *role,
                        self.hook,
                        interface,
                    )
                })
            })?
        };
        let outer = detach(host, &OF_ZTUNNEL, outer);
        let inner = inner.map_or(Ok(()), |(netns, inner)| detach(netns, &[ZTUNNEL_IN], inner));
        let pins = self.pins.remove_place(cookie);
        outer.and(inner).and(pins)
    }

    fn ztunnel_pin(&self, cookie: u64, role: Role, interface: u32) -> PathBuf {
        self.pins.place_link(cookie, &role.pin(interface))
    }

    fn with_redirect<T>(
        &self,
        work: impl FnOnce(&mut Ebpf) -> Result<T, DatapathError>,
    ) -> Result<T, DatapathError> {
        // A panic while attaching leaves the programs as they were.
        let mut kept = self.redirect.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *kept {
            Some(object) => work(object),
            none => {
                self.maps.expect_redirects();
                let object = none.insert(self.loader.load(object::REDIRECT)?);
                self.maps.begin_pairs()?;
                // An earlier agent may have ended between a change and the era that begins with it.
                self.maps.begin_era()?;
                work(object)
            }
        }
    }
}

/// Whether a program of the pod with this netns cookie runs at an interface of the host.
///
/// # Errors
/// [`DatapathError`] if a link cannot be read.
pub fn attached(pins: &Pins, cookie: u64) -> Result<bool, DatapathError> {
    for pin in pins.pod_links(cookie)? {
        let is_ours = [POD_OUT, STEER_OUT]
            .iter()
            .any(|role| role.index_of_pin(&pin).is_some());
        if is_ours && target(&pins.pod_link(cookie, &pin))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The interface that a pinned link is attached to.
pub(super) fn target(pin: &Path) -> Result<Option<u32>, DatapathError> {
    let Some(link) = links::open(pin)? else {
        return Ok(None);
    };
    match sys::link_info(link.as_fd())?.target {
        LinkTarget::Tcx { interface, .. } if interface != 0 => Ok(Some(interface)),
        _ => Ok(None),
    }
}
