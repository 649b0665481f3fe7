//! The agent from start to end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};
use tracing::{info, warn};

use super::claims::Claims;
use super::config::AgentConfig;
use super::node::{Node, NodeError, change_settings};
use super::orphans::Sweeper;
use super::registry::Registry;
use super::release::Releaser;
use super::tend::Tending;
use super::tender::{Shared, Trying};
use super::ztunnels::Ztunnels;
use crate::datapath::{Datapath, DatapathConfig, DatapathError, residue};
use crate::enroll::Enroller;
use crate::pods::netns::{NetnsError, NetnsId};
use crate::pods::source::PodSource;
use crate::pods::source::file::FileSource;
use crate::zds::socket::BindError;
use crate::zds::{ZdsConfig, ZdsServer};

/// How often pods that are gone are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The node's facts cannot be read.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The node's netns cannot be told from the pods'.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel refused programs or maps.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// ztunnel's socket cannot be served.
    #[error(transparent)]
    Zds(#[from] BindError),
}

/// The running agent.
pub struct Agent {
    /// Its programs and maps.
    pub datapath: Arc<Datapath>,
    /// The node it runs on.
    pub node: Node,
    /// What it knows of each pod.
    pub registry: Registry,
    /// The server for ztunnel.
    pub zds: ZdsServer,
    /// How the source of pods is doing.
    pub source: PodSource,
    config: AgentConfig,
    sweeper: Sweeper,
    tried: Receiver<Trying>,
    tending: Tending,
    verify_now: watch::Sender<u64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Agent {
    /// Puts the data plane in place and begins to serve ztunnel. Pods are tended by [`Self::run`].
    ///
    /// # Errors
    /// [`AgentError`]; an older data plane is untouched then.
    pub fn start(config: AgentConfig) -> Result<Self, AgentError> {
        let node = Node::read(&config)?;
        let cgroup = config
            .cgroup
            .clone()
            .unwrap_or_else(|| node.hierarchy.root.clone());
        let datapath = Datapath::open(&DatapathConfig {
            pin_root: config.pin_root.clone(),
            cgroup,
            sizes: config.sizes,
        })?;
        let datapath = Arc::new(datapath);
        let settings = node.settings(&config);
        change_settings(&datapath, |current| *current = settings.after(*current))?;
        let enroller = Enroller::new(datapath.clone(), node.host_netns);
        let (ztunnels, processes) = Ztunnels::new(datapath.clone(), node.clone());
        let zds_config = ZdsConfig {
            socket: config.zds_socket.clone(),
            ..ZdsConfig::default()
        };
        let zds = ZdsServer::start(zds_config, ztunnels)?;
        let (file, source) = FileSource::new(&config.pods_file);
        let file = tokio::spawn(file.run());
        let registry = Registry::default();
        let claims = Claims::default();
        let releaser = Releaser::new(enroller.clone(), claims.clone());
        let (verify_now, verify_receiver) = watch::channel(0);
        let shared = Shared {
            enroller,
            claims: claims.clone(),
            releaser: releaser.clone(),
            zds: zds.clone(),
            registry: registry.clone(),
            rules: config.rules.clone(),
            host: NetnsId::of_host(&config.host_netns)?,
            dns_capture: config.dns_capture,
            verify_interval: config.verify_interval,
            verify_now: verify_receiver,
            ztunnels: processes,
        };
        let (tending, tried) = Tending::new(Arc::new(shared));
        let sweeper = Sweeper {
            datapath: datapath.clone(),
            registry: registry.clone(),
            claims,
            releaser,
        };
        let tasks = vec![file];
        Ok(Self {
            datapath,
            node,
            registry,
            zds,
            source,
            config,
            sweeper,
            tried,
            tending,
            verify_now,
            tasks,
        })
    }

    /// Asks for all pods to be verified now.
    pub fn verify(&self) {
        self.verify_now.send_modify(|asked| *asked += 1);
    }

    /// Tends pods until `stop` is done. The data plane stays in place unless the configuration says otherwise.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        info!(hybrid_cgroups = self.node.hierarchy.hybrid, "agent started");
        let beginning = begin(self.tried, self.zds.clone(), self.sweeper.clone());
        self.tasks.push(tokio::spawn(beginning));
        tokio::select! {
            () = self.tending.follow(self.source.clone()) => {}
            () = stop => {}
        }
        if self.config.remove_on_exit {
            self.tending.remove_all().await;
        }
        self.zds.shutdown().await;
        for task in &self.tasks {
            task.abort();
        }
        if self.config.remove_on_exit {
            match residue::remove(self.datapath.pins().root()) {
                Ok(()) => info!("data plane removed"),
                Err(error) => {
                    warn!(%error, "the data plane could not be removed whole; `weir cleanup` tries again");
                }
            }
        }
        info!("agent stopped");
    }
}

/// Once the pods of the first list have been tried, those that nobody wants any more are let go, and ztunnel, which
/// drops what it is not told of, may come. From then on orphans are looked for regularly.
async fn begin(mut tried: Receiver<Trying>, zds: ZdsServer, sweeper: Sweeper) {
    // Nothing is ever sent: the end of all senders is the message. The first list may be long in coming.
    while tried.recv().await.is_some() {}
    sweeper.sweep().await;
    zds.open();
    let mut ticks = interval_at(Instant::now() + SWEEP_INTERVAL, SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        sweeper.sweep().await;
    }
}
