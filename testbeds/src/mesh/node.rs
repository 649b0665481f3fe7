//! A mesh whose proxy has its sockets in a pod of its own (node contract).

use super::{Builder, Error, Mesh, PodLine, pods_file};
use crate::cgroup::Cgroup;
use crate::netns::Netns;
use crate::proxy::{Proxy, ProxySpec};
use crate::world::{Pod, Wiring, World};

/// The pod that the proxy is in.
pub const ZTUNNEL: &str = "ztunnel";

/// How the proxy is, when it is not in the pods.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outside {
    hairpin: bool,
}

impl Outside {
    pub(super) fn spec(self, world: &World, netns: &Netns) -> ProxySpec {
        let spec = ProxySpec::node(netns, world.pod(ZTUNNEL).address());
        if self.hairpin { spec.hairpin() } else { spec }
    }
}

impl Builder {
    /// Puts the proxy into a pod of its own, with this wiring; pods of the node speak straight to each other there.
    #[must_use]
    pub fn ztunnel_outside(mut self, wiring: Wiring) -> Self {
        self.outside = Some(Outside { hairpin: false });
        self.pods.push((ZTUNNEL.to_owned(), wiring));
        self
    }

    /// The same, and pods of the node speak by a tunnel that is turned back.
    #[must_use]
    pub fn hairpin(mut self) -> Self {
        self.outside = Some(Outside { hairpin: true });
        self
    }

    pub(super) fn proxy_netns(&self, world: &World) -> Result<Netns, Error> {
        match self.outside {
            Some(_) => Ok(world.pod(ZTUNNEL).netns.clone()),
            None => Ok(Netns::new()?),
        }
    }

    pub(super) fn is_ztunnel(&self, pod: &Pod) -> bool {
        self.outside.is_some() && pod.name == ZTUNNEL
    }
}

impl Mesh {
    /// Adds a further pod with a proxy in it, as an upgrade does, and tells the agent of it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn another_ztunnel(&mut self, name: &str, wiring: Wiring, cgroup: &Cgroup) -> Result<Proxy, Error> {
        let pod = self.world.add_pod(name, wiring)?.clone();
        let mut spec = self.proxy.spec().clone();
        spec.netns = pod.netns.clone();
        spec.cgroup = Some(cgroup.path().to_owned());
        let proxy = Proxy::start_kind(self.proxy.kind().clone(), spec)?;
        let mut line = PodLine::new(&pod);
        line.be_ztunnel();
        self.pods.push(line);
        pods_file::write(&self.directory, &self.pods)?;
        Ok(proxy)
    }
}
