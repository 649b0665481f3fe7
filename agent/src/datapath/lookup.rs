//! The lookup of listeners, one instance per pod.

use std::os::fd::{AsFd as _, BorrowedFd};

use super::links::Order;
use super::stock::Kind;
use super::sys::{AttachType, LinkTarget, Target};
use super::{Datapath, DatapathError, Pins, links};

pub(super) const LOOKUP: &str = "weir_lookup";

impl Datapath {
    /// Attaches the pod's instance to its netns, or replaces the program of an earlier one in place.
    ///
    /// # Errors
    /// [`DatapathError`]; what was attached before stays attached.
    pub fn attach_lookup(&self, netns: BorrowedFd<'_>, cookie: u64) -> Result<(), DatapathError> {
        let lookup = self.instance(Kind::Lookup, cookie)?;
        // Where there was no directory there is no link to be found.
        let put = if self.pins.create_pod_directory(cookie)? {
            links::make
        } else {
            links::upsert
        };
        put(
            &self.pins.pod_link(cookie, LOOKUP),
            lookup.program(),
            Target::Fd(netns),
            AttachType::SK_LOOKUP,
            Order::Any,
        )
    }

    /// Detaches what is attached in the pod; a pod without anything is fine.
    ///
    /// # Errors
    /// [`DatapathError`] if a pin cannot be removed.
    pub fn detach_pod(&self, cookie: u64) -> Result<(), DatapathError> {
        self.pins.remove_pod(cookie)
    }

    /// Whether the pod's lookup is attached to a living netns.
    ///
    /// # Errors
    /// [`DatapathError`] if the link cannot be read.
    pub fn lookup_attached(&self, cookie: u64) -> Result<bool, DatapathError> {
        attached(&self.pins, cookie)
    }
}

/// Whether the lookup of the pod with this netns cookie is attached to a living netns.
///
/// # Errors
/// [`DatapathError`] if the link cannot be read.
pub fn attached(pins: &Pins, cookie: u64) -> Result<bool, DatapathError> {
    let Some(link) = links::open(&pins.pod_link(cookie, LOOKUP))? else {
        return Ok(false);
    };
    let target = super::sys::link_info(link.as_fd())?.target;
    Ok(matches!(target, LinkTarget::Netns { inode, .. } if inode != 0))
}
