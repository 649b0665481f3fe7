//! A second node of a mesh: an agent and a proxy of its own for some of the world's pods.

use std::fs;
use std::path::PathBuf;

use super::{AgentProcess, Error, Mesh, PodLine, START, agent, at, pods_file};
use crate::cgroup::Cgroup;
use crate::deadline::eventually;
use crate::netns::Netns;
use crate::proxy::{Member, Proxy, ProxySpec};
use crate::unique;
use crate::world::Pod;

/// The other node's agent and proxy; both are killed with it.
#[derive(Debug)]
pub struct Neighbour {
    /// The agent.
    pub agent: AgentProcess,
    /// The proxy.
    pub proxy: Proxy,
    _cgroup: Cgroup,
    directory: PathBuf,
}

impl Mesh {
    /// Makes these pods, which this mesh's agent leaves alone, another node's. Each proxy then knows the other's pods as
    /// those of another node.
    ///
    /// # Errors
    /// [`Error`].
    pub fn neighbour(&mut self, pods: &[&str]) -> Result<Neighbour, Error> {
        let directory = std::env::temp_dir().join(unique::name("neighbour"));
        fs::create_dir_all(&directory).map_err(at(&directory))?;
        let lines: Vec<PodLine> = pods.iter().map(|name| enrolled(self.pod(name))).collect();
        pods_file::write(&directory, &lines)?;
        let agent = AgentProcess::start(
            &self.world.node.netns,
            &directory,
            &pods_file::flags(&directory),
            agent::NOWHERE,
        )?;
        let cgroup = Cgroup::new("neighbour")?;
        let spec = ProxySpec::in_pod(&Netns::new()?, &agent.zds_socket())
            .members(self.members_of(|name| pods.contains(&name)))
            .cgroup(cgroup.path());
        let proxy = Proxy::start_kind(self.proxy.kind().clone(), spec)?;
        let here = self.members_of(|name| !pods.contains(&name));
        self.proxy.set_members(here)?;
        let neighbour = Neighbour {
            agent,
            proxy,
            _cgroup: cgroup,
            directory,
        };
        neighbour.settled(pods)?;
        Ok(neighbour)
    }

    fn members_of(&self, is_local: impl Fn(&str) -> bool) -> Vec<Member> {
        let member = |pod: &Pod| Member {
            local: is_local(&pod.name),
            ..Member::of(pod)
        };
        self.world.pods().iter().map(member).collect()
    }
}

impl Neighbour {
    fn settled(&self, pods: &[&str]) -> Result<(), Error> {
        let is_enrolled = |pod: &&str| self.agent.state_of(pod).as_deref() == Some("enrolled");
        let settled = || pods.iter().all(is_enrolled).then_some(());
        eventually(START, settled).map_err(|source| Error::Late {
            what: "the neighbour's pods are not enrolled".to_owned(),
            source,
            output: format!("{}\n{}", self.agent.output(), self.proxy.output()),
        })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.agent.end();
        // A directory left in the temporary directory is no reason to fail a test.
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

fn enrolled(pod: &Pod) -> PodLine {
    let mut line = PodLine::new(pod);
    line.enrol();
    line
}
