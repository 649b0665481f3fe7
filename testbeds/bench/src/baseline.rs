//! A world whose pods are redirected by iptables rules: no program of Weir is loaded for it.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use weir_agent::pods::pod::PodUid;
use weir_agent::zds::{Workload, ZdsConfig, ZdsServer};
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::mesh::{self, ZTUNNEL};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Member, Proxy, ProxyKind, ProxySpec};
use weir_testbeds::unique;
use weir_testbeds::world::{Pod, World};

use crate::rules;

const SOCKET: &str = "zds.sock";

/// The world, its proxy, and who tells the proxy of the pods where it has to be told.
pub struct Baseline {
    pub world: World,
    pub proxy: Proxy,
    _cgroup: Cgroup,
    _announcer: Option<Announcer>,
}

impl Baseline {
    /// The proxy's sockets are in the pods. Rules come last, as Istio's agent has them only once ztunnel listens.
    pub fn in_pod(world: World, kind: &ProxyKind) -> Result<Self> {
        let announcer = Announcer::start(&world)?;
        let spec = ProxySpec::in_pod(&Netns::new()?, &announcer.socket());
        let baseline = Self::start(world, kind, spec, Some(announcer))?;
        for pod in baseline.world.pods() {
            rules::in_pod::apply(&pod.netns, pod.address())?;
        }
        Ok(baseline)
    }

    /// The proxy's sockets are in a pod of its own.
    pub fn node(world: World, kind: &ProxyKind) -> Result<Self> {
        let proxy = world.pod(ZTUNNEL);
        let spec = ProxySpec::node(&proxy.netns, proxy.address());
        let baseline = Self::start(world, kind, spec, None)?;
        rules::node::apply(&baseline.world)?;
        Ok(baseline)
    }

    fn start(world: World, kind: &ProxyKind, spec: ProxySpec, announcer: Option<Announcer>) -> Result<Self> {
        let cgroup = Cgroup::new("ztunnel")?;
        let pods = world.pods().iter().filter(|pod| pod.name != ZTUNNEL);
        let spec = spec
            .members(pods.map(Member::of))
            .cgroup(cgroup.path())
            .without_records();
        let proxy = Proxy::start_kind(kind.clone(), spec)?;
        proxy.wait_ready(mesh::START)?;
        Ok(Self {
            world,
            proxy,
            _cgroup: cgroup,
            _announcer: announcer,
        })
    }
}

/// Tells the proxy of the pods over ZDS.
struct Announcer {
    _server: ZdsServer,
    _runtime: Runtime,
    directory: PathBuf,
}

impl Announcer {
    fn start(world: &World) -> Result<Self> {
        let directory = std::env::temp_dir().join(unique::name("bench"));
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let server = serve(&runtime, directory.join(SOCKET), world)?;
        Ok(Self {
            _server: server,
            _runtime: runtime,
            directory,
        })
    }

    fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        // A directory left in the temporary directory spoils no measurement.
        fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

fn serve(runtime: &Runtime, socket: PathBuf, world: &World) -> Result<ZdsServer> {
    let _inside = runtime.enter();
    let server = ZdsServer::start(ZdsConfig {
        socket,
        ..ZdsConfig::default()
    })?;
    for pod in world.pods() {
        server.want(workload(pod)?)?;
    }
    server.serve();
    Ok(server)
}

fn workload(pod: &Pod) -> Result<Workload> {
    let member = Member::of(pod);
    let netns: OwnedFd = pod.netns.as_fd().try_clone_to_owned()?;
    Ok(Workload {
        uid: PodUid::new(&pod.uid)?,
        name: member.name,
        namespace: member.namespace,
        service_account: member.service_account,
        netns: Arc::new(netns),
    })
}
