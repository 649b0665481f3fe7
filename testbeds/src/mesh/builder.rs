//! What a mesh is to be, and how it comes to be that.

use std::fs;
use std::path::Path;

use super::node::Outside;
use super::{AgentProcess, Error, Mesh, PodLine, agent, at, pods_file};
use crate::cgroup::Cgroup;
use crate::netns::Netns;
use crate::proxy::{Dns, Member, Proxy, ProxyKind, ProxySpec};
use crate::unique;
use crate::world::{self, Family, Pod, Wiring, World};

/// What a mesh is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    wiring: Wiring,
    family: Family,
    mtu: Option<u32>,
    pub(super) pods: Vec<(String, Wiring)>,
    interfaces: Vec<(String, String, Wiring)>,
    enrolled: Vec<String>,
    annotations: Vec<(String, String, String)>,
    dns: Dns,
    flags: Vec<String>,
    source: Option<Vec<String>>,
    http_address: String,
    original_source: bool,
    record: bool,
    proxy: Option<ProxyKind>,
    pub(super) outside: Option<Outside>,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            wiring: Wiring::Bridge,
            family: Family::V4,
            mtu: None,
            pods: Vec::new(),
            interfaces: Vec::new(),
            enrolled: Vec::new(),
            annotations: Vec::new(),
            dns: Dns::Off,
            flags: Vec::new(),
            source: None,
            http_address: agent::NOWHERE.to_owned(),
            original_source: true,
            record: true,
            proxy: None,
            outside: None,
        }
    }

    /// How pods are wired that do not say.
    #[must_use]
    pub fn wiring(mut self, wiring: Wiring) -> Self {
        self.wiring = wiring;
        self
    }

    /// The families of addresses.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// The MTU of every interface.
    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Adds a pod that is in the mesh.
    #[must_use]
    pub fn enrolled(mut self, name: &str) -> Self {
        self.enrolled.push(name.to_owned());
        self.outside(name)
    }

    /// Adds a pod that is not.
    #[must_use]
    pub fn outside(mut self, name: &str) -> Self {
        self.pods.push((name.to_owned(), self.wiring));
        self
    }

    /// Gives a pod, or the one that the proxy is in, a further interface.
    #[must_use]
    pub fn interface(mut self, pod: &str, name: &str, wiring: Wiring) -> Self {
        self.interfaces.push((pod.to_owned(), name.to_owned(), wiring));
        self
    }

    /// Adds an annotation to a pod.
    #[must_use]
    pub fn annotate(mut self, pod: &str, key: &str, value: &str) -> Self {
        self.annotations
            .push((pod.to_owned(), key.to_owned(), value.to_owned()));
        self
    }

    /// What the proxy does about DNS.
    #[must_use]
    pub fn dns(mut self, dns: Dns) -> Self {
        self.dns = dns;
        self
    }

    /// Gives the agent a flag.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Flags that say where the agent learns of pods, in place of the mesh's file.
    #[must_use]
    pub fn source(mut self, flags: &[&str]) -> Self {
        self.source = Some(flags.iter().map(|flag| (*flag).to_owned()).collect());
        self
    }

    /// Where the agent answers probes and metrics, in the node's namespace; nowhere if this is not said.
    #[must_use]
    pub fn http_address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.http_address);
        self
    }

    /// A proxy that does not write down what it sees.
    #[must_use]
    pub fn without_records(mut self) -> Self {
        self.record = false;
        self
    }

    /// A proxy whose listeners take no foreign addresses and that shows applications its own.
    #[must_use]
    pub fn without_original_source(mut self) -> Self {
        self.original_source = false;
        self
    }

    /// A certain proxy, whatever the environment asks for.
    #[must_use]
    pub fn proxy_kind(mut self, kind: ProxyKind) -> Self {
        self.proxy = Some(kind);
        self
    }

    /// Makes it, and waits until every pod is where it belongs.
    ///
    /// # Errors
    /// [`Error`].
    pub fn start(self) -> Result<Mesh, Error> {
        let world = self.world()?;
        self.start_in(world)
    }

    /// Makes the world alone: no agent, no proxy, every pod outside the mesh.
    ///
    /// # Errors
    /// [`world::Error`].
    pub fn world(&self) -> Result<World, world::Error> {
        let mut builder = World::builder(&self.name).family(self.family);
        if let Some(mtu) = self.mtu {
            builder = builder.mtu(mtu);
        }
        for (name, wiring) in &self.pods {
            builder = builder.pod(name, *wiring);
        }
        let mut world = builder.build()?;
        for (pod, name, wiring) in &self.interfaces {
            world.add_interface(pod, name, *wiring)?;
        }
        Ok(world)
    }

    /// Brings agent and proxy into the world that [`world`](Self::world) made, and waits as [`start`](Self::start) does.
    ///
    /// # Errors
    /// [`Error`].
    pub fn start_in(self, world: World) -> Result<Mesh, Error> {
        let mesh = self.assemble(world)?;
        mesh.settled()?;
        Ok(mesh)
    }

    fn assemble(self, world: World) -> Result<Mesh, Error> {
        let directory = std::env::temp_dir().join(unique::name(&format!("{}-mesh", self.name)));
        fs::create_dir_all(&directory).map_err(at(&directory))?;
        let pods: Vec<PodLine> = world.pods().iter().map(|pod| self.line(pod)).collect();
        pods_file::write(&directory, &pods)?;
        let file = || pods_file::flags(&directory);
        let mut flags = self.source.clone().unwrap_or_else(file);
        flags.extend_from_slice(&self.flags);
        let agent = AgentProcess::start(&world.node.netns, &directory, &flags, &self.http_address)?;
        let proxy_netns = self.proxy_netns(&world)?;
        let proxy_cgroup = Cgroup::new("ztunnel")?;
        let kind = match &self.proxy {
            Some(kind) => kind.clone(),
            None => ProxyKind::from_env()?,
        };
        let spec = self.spec(&world, &proxy_netns, &agent.zds_socket(), proxy_cgroup.path());
        let proxy = Proxy::start_kind(kind, spec)?;
        Ok(Mesh {
            agent,
            proxy,
            proxy_cgroup,
            world,
            pods,
            proxy_netns,
            directory,
        })
    }

    fn line(&self, pod: &Pod) -> PodLine {
        let mut line = PodLine::new(pod);
        if self.is_ztunnel(pod) {
            line.be_ztunnel();
        }
        if self.enrolled.contains(&pod.name) {
            line.enrol();
        }
        for (name, key, value) in &self.annotations {
            if *name == pod.name {
                line.annotate(key, value);
            }
        }
        line
    }

    fn spec(&self, world: &World, netns: &Netns, zds: &Path, cgroup: &Path) -> ProxySpec {
        let members = world
            .pods()
            .iter()
            .filter(|pod| !self.is_ztunnel(pod))
            .map(|pod| match self.enrolled.contains(&pod.name) {
                true => Member::of(pod),
                false => Member::of(pod).plain(),
            });
        let spec = match &self.outside {
            Some(outside) => outside.spec(world, netns),
            None => ProxySpec::in_pod(netns, zds),
        };
        let mut spec = spec.members(members).cgroup(cgroup).dns(self.dns.clone());
        spec.original_source = self.original_source;
        spec.record = self.record;
        spec
    }
}
