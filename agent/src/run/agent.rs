//! The agent from start to end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::config::AgentConfig;
use super::node::{Node, NodeError, change_settings};
use super::orphans;
use super::registry::Registry;
use super::subjects::Subjects;
use super::tend::Tending;
use super::tender::Shared;
use super::view::View;
use super::zds_tally::ZdsTally;
use super::ztunnels::Ztunnels;
use crate::datapath::{Datapath, DatapathConfig, DatapathError, residue};
use crate::enroll::Enroller;
use crate::pods::netns::{NetnsError, NetnsId};
use crate::pods::source::file::FileSource;
use crate::socket_file::BindError;
use crate::trace::Tracer;
use crate::verify;
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
    view: View,
    enroller: Enroller,
    tending: Tending,
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
        change_settings(&datapath, |current| *current = settings)?;
        let enroller = Enroller::new(datapath.clone(), node.host_netns);
        let zds = ZdsServer::start(ZdsConfig {
            socket: config.zds_socket.clone(),
            ..ZdsConfig::default()
        })?;
        let (ztunnels, processes) = Ztunnels::new(datapath.clone(), node.clone());
        let ztunnels = tokio::spawn(ztunnels.follow(zds.events()));
        let (file, source) = FileSource::new(&config.pods_file);
        let file = tokio::spawn(file.run());
        let registry = Registry::default();
        let subjects = Subjects::default();
        let shared = Shared {
            enroller: enroller.clone(),
            zds: zds.clone(),
            registry: registry.clone(),
            rules: config.rules.clone(),
            host: NetnsId::of_host(&config.host_netns)?,
            dns_capture: config.dns_capture,
            subjects: subjects.clone(),
            ztunnels: processes,
        };
        let tending = Tending::new(Arc::new(shared));
        let zds_tally = ZdsTally::default();
        let counting = tokio::spawn(zds_tally.clone().follow(zds.events()));
        let view = View {
            tracer: Tracer::new(datapath.clone(), registry.clone()),
            zds_tally,
            config: Arc::new(config),
            started: SystemTime::now(),
            datapath,
            node: Arc::new(node),
            registry,
            subjects,
            zds,
            source,
        };
        let tasks = vec![ztunnels, file, counting];
        Ok(Self {
            view,
            enroller,
            tending,
            tasks,
        })
    }

    /// The agent, to be looked at.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Tends pods until `stop` is done. The data plane stays in place unless the configuration says otherwise.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        info!(hybrid_cgroups = self.view.node.hierarchy.hybrid, "agent started");
        let sweeping = tokio::spawn(sweep(
            self.view.datapath.clone(),
            self.enroller.clone(),
            self.view.registry.clone(),
        ));
        self.tasks.push(sweeping);
        self.tasks
            .push(tokio::spawn(verify::regularly(self.view.clone())));
        tokio::select! {
            () = self.tending.follow(self.view.source.clone()) => {}
            () = stop => {}
        }
        if self.view.config.remove_on_exit {
            self.tending.remove_all().await;
        }
        self.view.zds.shutdown().await;
        for task in &self.tasks {
            task.abort();
        }
        if self.view.config.remove_on_exit {
            match residue::remove(self.view.datapath.pins().root()) {
                Ok(()) => info!("data plane removed"),
                Err(error) => {
                    warn!(%error, "the data plane could not be removed whole; `weir cleanup` tries again");
                }
            }
        }
        info!("agent stopped");
    }
}

async fn sweep(datapath: Arc<Datapath>, enroller: Enroller, registry: Registry) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    // The first tick is at once, before any pod is known.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (datapath, enroller, registry) = (datapath.clone(), enroller.clone(), registry.clone());
        let swept =
            tokio::task::spawn_blocking(move || orphans::sweep(&datapath, &enroller, &registry)).await;
        if let Ok(Err(error)) = swept {
            warn!(%error, "pods that are gone could not be looked for");
        }
    }
}
