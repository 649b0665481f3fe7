//! A node with pods and a host beyond its uplink, wired as CNI plugins do it.
//!
//! Everything is inside anonymous namespaces: a world leaves nothing behind, however its process ends.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::mac::Mac;
use crate::{netlink, netns};

mod addresses;
mod builder;
mod host;
mod pod;
mod wiring;

pub use addresses::{Addresses, Family};
pub use builder::Builder;
pub use host::Host;
pub use pod::{Attachment, Pod};
pub use wiring::Wiring;

use host::UPLINK;
use wiring::Request;

/// Why a world could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A namespace could not be made.
    #[error(transparent)]
    Netns(#[from] netns::Error),
    /// An interface, address or route could not be made.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// A new interface has no Ethernet address.
    #[error("the new interface {0} has no Ethernet address")]
    NoMac(String),
    /// A pod's name is taken.
    #[error("the world has a pod {0} already")]
    PodExists(String),
    /// No pod has this name.
    #[error("the world has no pod {0}")]
    NoPod(String),
    /// All addresses are given away.
    #[error("the world is full: its subnets have no more addresses")]
    Full,
}

impl Error {
    /// Whether this kernel has no driver for what was asked.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Netlink(error) if error.is_unsupported())
    }
}

/// The number of the first pod in its subnet; lower ones are for gateways and hosts.
const FIRST_NUMBER: u8 = 10;

/// A node, a remote host, and pods.
#[derive(Debug)]
pub struct World {
    /// What the test calls it.
    pub name: String,
    /// Unique among all worlds on this machine, and fit to be part of a name.
    pub id: String,
    /// The node: its namespace is what a host namespace is to a real agent.
    pub node: Host,
    /// A host beyond the node's uplink that routes to the pods; nothing is NATed.
    pub remote: Host,
    family: Family,
    mtu: Option<u32>,
    pod_mac: Option<Mac>,
    pods: Vec<Pod>,
    next_number: u8,
}

impl World {
    /// Starts to describe a world.
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// The families its hosts and pods have.
    pub fn family(&self) -> Family {
        self.family
    }

    /// All pods, in the order they were added.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// The pod of this name; panics if there is none, as indexing does.
    #[expect(
        clippy::panic,
        reason = "a wrong name is a mistake in the test, like a wrong index"
    )]
    pub fn pod(&self, name: &str) -> &Pod {
        self.pods
            .iter()
            .find(|pod| pod.name == name)
            .unwrap_or_else(|| panic!("{}", Error::NoPod(name.into())))
    }

    /// Adds a pod with one interface, `eth0`.
    pub fn add_pod(&mut self, name: &str, wiring: Wiring) -> Result<&Pod, Error> {
        if self.pods.iter().any(|pod| pod.name == name) {
            return Err(Error::PodExists(name.to_owned()));
        }
        let netns = netns::Netns::new()?;
        let number = self.take_number()?;
        let primary = self.request(wiring, &netns, UPLINK, number).attach()?;
        let uid = format!("{}-4000-8000-{number:012x}", self.id);
        self.pods.push(Pod {
            name: name.to_owned(),
            uid,
            netns,
            primary,
            secondary: Vec::new(),
        });
        Ok(self.pod(name))
    }

    /// Gives a pod a further interface, without routes beyond its own subnet.
    pub fn add_interface(
        &mut self,
        pod: &str,
        interface: &str,
        wiring: Wiring,
    ) -> Result<&Attachment, Error> {
        let index = self.index(pod)?;
        let netns = self.pods[index].netns.clone();
        let number = self.take_number()?;
        let attachment = self.request(wiring, &netns, interface, number).attach()?;
        let secondary = &mut self.pods[index].secondary;
        secondary.push(attachment);
        secondary.last().ok_or_else(|| Error::NoPod(pod.to_owned()))
    }

    /// Removes a pod and its interfaces, as CNI DEL does.
    pub fn remove_pod(&mut self, name: &str) -> Result<(), Error> {
        let pod = self.pods.remove(self.index(name)?);
        for attachment in pod.attachments() {
            pod.netns
                .netlink(async |netlink| netlink.delete_link(&attachment.interface).await)?;
        }
        Ok(())
    }

    fn index(&self, pod: &str) -> Result<usize, Error> {
        self.pods
            .iter()
            .position(|known| known.name == pod)
            .ok_or_else(|| Error::NoPod(pod.to_owned()))
    }

    fn take_number(&mut self) -> Result<u8, Error> {
        let number = self.next_number;
        self.next_number = number
            .checked_add(1)
            .filter(|next| *next < u8::MAX)
            .ok_or(Error::Full)?;
        Ok(number)
    }

    fn request<'a>(
        &'a self,
        wiring: Wiring,
        pod: &'a netns::Netns,
        interface: &'a str,
        number: u8,
    ) -> Request<'a> {
        let Self {
            node,
            remote,
            family,
            mtu,
            pod_mac,
            ..
        } = self;
        Request {
            wiring,
            node,
            remote,
            pod,
            interface,
            number,
            family: *family,
            mtu: *mtu,
            mac: *pod_mac,
        }
    }
}

/// The first two groups of a UID: this process, and a count.
fn unique_id() -> String {
    static WORLDS: AtomicU32 = AtomicU32::new(0);
    format!(
        "{:08x}-{:04x}",
        std::process::id(),
        WORLDS.fetch_add(1, Ordering::Relaxed)
    )
}
