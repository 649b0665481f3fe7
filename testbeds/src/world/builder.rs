//! What a world is to look like.

use super::host::node_and_remote;
use super::{Error, FIRST_NUMBER, Family, Wiring, World, unique_id};
use crate::mac::Mac;

/// Describes a world; [`build`](Builder::build) makes it.
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    wiring: Wiring,
    family: Family,
    mtu: Option<u32>,
    pod_mac: Option<Mac>,
    pods: Vec<(String, Option<Wiring>)>,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            wiring: Wiring::Bridge,
            family: Family::V4,
            mtu: None,
            pod_mac: None,
            pods: Vec::new(),
        }
    }

    /// How pods are wired unless said otherwise.
    pub fn wiring(mut self, wiring: Wiring) -> Self {
        self.wiring = wiring;
        self
    }

    /// Which families there are.
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// The MTU of every interface.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// The Ethernet address of every pod, all the same: some plugins do not give each its own.
    pub fn pod_mac(mut self, mac: Mac) -> Self {
        self.pod_mac = Some(mac);
        self
    }

    /// Adds pods with the world's wiring.
    pub fn pods<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.pods
            .extend(names.into_iter().map(|name| (name.to_owned(), None)));
        self
    }

    /// Adds a pod with a wiring of its own.
    pub fn pod(mut self, name: &str, wiring: Wiring) -> Self {
        self.pods.push((name.to_owned(), Some(wiring)));
        self
    }

    /// Makes the world.
    pub fn build(self) -> Result<World, Error> {
        let (node, remote) = node_and_remote(self.family, self.mtu)?;
        let mut world = World {
            name: self.name,
            id: unique_id(),
            node,
            remote,
            family: self.family,
            mtu: self.mtu,
            pod_mac: self.pod_mac,
            pods: Vec::new(),
            next_number: FIRST_NUMBER,
        };
        for (name, wiring) in &self.pods {
            world.add_pod(name, wiring.unwrap_or(self.wiring))?;
        }
        Ok(world)
    }
}
