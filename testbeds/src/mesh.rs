//! A world with the real agent and a proxy in it: pods that are in the mesh and pods that are not.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cgroup::{self, Cgroup};
use crate::deadline::{Expired, eventually};
use crate::netns::{self, Netns};
use crate::process;
use crate::proxy::{self, Proxy};
use crate::unique;
use crate::world::{self, Pod, World};

mod agent;
mod builder;
mod neighbour;
mod node;
mod pods_file;

pub use agent::AgentProcess;
pub use builder::Builder;
pub use neighbour::Neighbour;
pub use node::ZTUNNEL;
pub use pods_file::PodLine;

/// How long a mesh may take to come up.
pub const START: Duration = Duration::from_secs(20);

/// Why a mesh could not be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is the error of one part")]
pub enum Error {
    #[error(transparent)]
    World(#[from] world::Error),
    #[error(transparent)]
    Netns(#[from] netns::Error),
    #[error(transparent)]
    Cgroup(#[from] cgroup::Error),
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error(transparent)]
    Actor(#[from] crate::actor::Error),
    #[error(transparent)]
    Proxy(#[from] proxy::Error),
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the program {path} is missing: `cargo build --bins` builds it", path = path.display())]
    NoProgram { path: PathBuf },
    #[error("{what}: {source}; the agent says:\n{output}")]
    Late {
        what: String,
        source: Expired,
        output: String,
    },
}

/// The world, the agent and the proxy.
#[derive(Debug)]
pub struct Mesh {
    /// The agent; killed with the mesh.
    pub agent: AgentProcess,
    /// The proxy; killed with the mesh.
    pub proxy: Proxy,
    /// The proxy's cgroup.
    pub proxy_cgroup: Cgroup,
    /// Pods and hosts.
    pub world: World,
    pods: Vec<PodLine>,
    proxy_netns: Netns,
    directory: PathBuf,
}

impl Mesh {
    /// Begins a mesh whose pods are wired as bridge CNIs do it, with IPv4 addresses.
    #[must_use]
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// A pod.
    #[must_use]
    pub fn pod(&self, name: &str) -> &Pod {
        self.world.pod(name)
    }

    /// Waits until every pod that should be in the mesh is, and no other.
    ///
    /// # Errors
    /// [`Error::Late`] with what the agent printed.
    pub fn settled(&self) -> Result<(), Error> {
        for pod in &self.pods {
            self.wait_state(&pod.name, pod.expected_state())?;
        }
        Ok(())
    }

    /// Waits until the agent says that the pod is in `state`.
    ///
    /// # Errors
    /// [`Error::Late`] with what the agent printed.
    pub fn wait_state(&self, pod: &str, state: &str) -> Result<(), Error> {
        let reached = eventually(START, || (self.agent.state_of(pod)? == state).then_some(()));
        reached.map_err(|source| self.late(format!("pod {pod} is not {state}"), source))
    }

    /// Puts a pod into the mesh, or takes it out, by its label; the agent sees it in its file.
    ///
    /// # Errors
    /// [`Error`].
    pub fn relabel(&mut self, pod: &str, enrolled: bool) -> Result<(), Error> {
        self.change(pod, |line| if enrolled { line.enrol() } else { line.leave() })?;
        self.settled()
    }

    /// Changes a pod's line in the agent's file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn change(&mut self, pod: &str, change: impl FnOnce(&mut PodLine)) -> Result<(), Error> {
        if let Some(line) = self.pods.iter_mut().find(|line| line.name == pod) {
            change(line);
        }
        pods_file::write(&self.directory, &self.pods)
    }

    /// Adds pods to the agent's file, and does not wait for what comes of it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add(&mut self, pods: impl IntoIterator<Item = PodLine>) -> Result<(), Error> {
        self.pods.extend(pods);
        pods_file::write(&self.directory, &self.pods)
    }

    /// Adds a pod of the world to the agent's file, as one that is in the mesh.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&mut self, pod: &str) -> Result<(), Error> {
        let pod = self.world.pod(pod).clone();
        self.list_pod(&pod)
    }

    /// The same for a pod of another world.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list_pod(&mut self, pod: &Pod) -> Result<(), Error> {
        let mut line = PodLine::new(pod);
        line.enrol();
        self.pods.push(line);
        pods_file::write(&self.directory, &self.pods)
    }

    /// Adds pods that are nothing but namespaces, in the mesh.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list_bare(&mut self, pods: &[Netns]) -> Result<(), Error> {
        let lines = pods
            .iter()
            .map(|netns| PodLine::bare(&unique::name("bare"), netns));
        self.pods.extend(lines);
        pods_file::write(&self.directory, &self.pods)
    }

    /// Takes them out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unlist_bare(&mut self) -> Result<(), Error> {
        self.pods.retain(|line| !line.is_bare());
        pods_file::write(&self.directory, &self.pods)
    }

    /// Takes a pod out of the agent's file, as if it were gone.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn unlist(&mut self, pod: &str) -> Result<(), Error> {
        self.pods.retain(|line| line.name != pod);
        pods_file::write(&self.directory, &self.pods)
    }

    /// A further proxy with the same members, in a cgroup of its own if one is given.
    ///
    /// # Errors
    /// [`Error`].
    pub fn another_proxy(&self, cgroup: Option<&Cgroup>) -> Result<Proxy, Error> {
        let mut spec = self.proxy.spec().clone();
        spec.netns = Netns::new()?;
        spec.cgroup = Some(cgroup.unwrap_or(&self.proxy_cgroup).path().to_owned());
        Ok(Proxy::start(spec)?)
    }

    /// Where the proxy lives.
    #[must_use]
    pub const fn proxy_netns(&self) -> &Netns {
        &self.proxy_netns
    }

    /// The address of a pod, of the same family as another address.
    #[must_use]
    pub fn address(&self, pod: &str, like: IpAddr) -> Option<IpAddr> {
        self.pod(pod).address_like(like)
    }

    fn late(&self, what: String, source: Expired) -> Error {
        Error::Late {
            what,
            source,
            output: format!("{}\n{}", self.agent.output(), self.proxy.output()),
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.agent.end();
        // A directory left in the temporary directory is no reason to fail a test.
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| Error::Io { path, source }
}

/// The path of a program that is built beside this one.
///
/// # Errors
/// [`Error::NoProgram`].
pub fn program(name: &str) -> Result<PathBuf, Error> {
    let here = std::env::current_exe().map_err(at(Path::new("/proc/self/exe")))?;
    let beside = here
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    beside.ok_or_else(|| Error::NoProgram {
        path: here.with_file_name(name),
    })
}
