//! The agent from start to end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval_at};
use tracing::{info, warn};

use super::alone::{Alone, NotAlone};
use super::calls::{Call, Calls};
use super::claims::Claims;
use super::config::{AgentConfig, ContractMode, GuardMode};
use super::health::Health;
use super::keeper::{Keeper, KeeperConfig, KeptList};
use super::lull::Lull;
use super::node::{Node, NodeError, change_settings};
use super::orphans::Sweeper;
use super::registry::Registry;
use super::release::{Releaser, SharedNetns};
use super::restock;
use super::sandboxes::Sandboxes;
use super::source::{self, Cluster};
use super::subjects::Subjects;
use super::tasks::{Task, Tasks};
use super::tend::Tending;
use super::tender::{Shared, Trying, Unaided};
use super::view::View;
use super::zds_tally::ZdsTally;
use super::ztunnels::Ztunnels;
use crate::api_server::OpenError;
use crate::cni_conf;
use crate::cni_server::CniTally;
use crate::datapath::{Datapath, DatapathConfig, DatapathError, residue};
use crate::enroll::Enroller;
use crate::enroll::loopback;
use crate::enroll::redirect::NodeSide;
use crate::pods::netns::{NetnsError, Walks};
use crate::report::ReportTally;
use crate::socket_file::BindError;
use crate::trace::Tracer;
use crate::verify;
use crate::wiring::Wiring;
use crate::zds::{ZdsConfig, ZdsServer};

const KEEPS_ZTUNNEL: &str = "keeps ztunnel";
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
    /// Another agent has something that this one needs.
    #[error(transparent)]
    NotAlone(#[from] NotAlone),
    /// ztunnel's socket cannot be served.
    #[error(transparent)]
    Zds(#[from] BindError),
    /// There is no API server to ask.
    #[error(transparent)]
    ApiServer(#[from] OpenError),
    /// A task that must not end has ended.
    #[error(
        "what {0} has panicked, see above. The agent ends, to be started anew; what is in the kernel stays"
    )]
    Panicked(&'static str),
}

/// The running agent.
pub struct Agent {
    view: View,
    sweeper: Sweeper,
    tried: Receiver<Trying>,
    tending: Tending,
    calls: Calls,
    called: Receiver<Call>,
    cluster: Option<Cluster>,
    tasks: Tasks,
    /// Has who keeps ztunnels take away what is there for them.
    leave: oneshot::Sender<()>,
    /// Held until all else has ended.
    _alone: Alone,
}

impl Agent {
    /// Puts the data plane in place and begins to serve ztunnel. Pods are tended by [`Self::run`].
    ///
    /// # Errors
    /// [`AgentError`]; an older data plane is untouched then.
    pub async fn start(config: AgentConfig) -> Result<Self, AgentError> {
        let node = Node::read(&config)?;
        let alone = Alone::expect(&config)?;
        let datapath = open_datapath(&config, &node)?;
        change_settings(&datapath, |now| *now = node.settings(&config).after(*now))?;
        let (ztunnels, processes) = Ztunnels::new(datapath.clone(), node.clone());
        let zds = ZdsServer::start_with(zds_config(&config), ztunnels)?;
        let (keeper, side, kept) = keeper(&config, &node, &datapath, &zds)?;
        let node_ztunnels = side.as_ref().map(NodeSide::ztunnels);
        let enroller = enroller(&config, &node, datapath.clone(), side);
        let begun = source::begin(&config.source).await?;
        let (registry, subjects) = (Registry::default(), Subjects::default());
        let (sandboxes, claims) = (Sandboxes::default(), Claims::default());
        let releaser = Releaser::new(enroller.clone(), claims.clone());
        let shared = Shared {
            enroller,
            claims: claims.clone(),
            releaser: releaser.clone(),
            zds: zds.clone(),
            registry: registry.clone(),
            rules: config.rules.clone(),
            host: node.id,
            walks: Arc::new(Walks::new("/proc")),
            dns_capture: config.dns_capture,
            subjects: subjects.clone(),
            sandboxes: sandboxes.clone(),
            unaided: Unaided::default(),
            guards_late: config.guard == GuardMode::Audit,
            lull: Lull::new(),
            ztunnels: processes,
            contract: config.contract,
            node_ztunnels,
        };
        let (tending, tried) = Tending::new(Arc::new(shared));
        let sweeper = Sweeper {
            datapath: datapath.clone(),
            registry: registry.clone(),
            claims,
            releaser,
        };
        let (zds_tally, counting) = ZdsTally::start(&zds);
        let (wiring, looking) = Wiring::start(config.host_netns.clone(), config.cni_conf_dir.clone());
        let view = View {
            wiring,
            tracer: Tracer::new(datapath.clone(), registry.clone()),
            zds_tally,
            config: Arc::new(config),
            started: SystemTime::now(),
            datapath,
            node: Arc::new(node),
            registry,
            subjects,
            zds,
            kept,
            source: begun.source,
            reports: ReportTally::default(),
            cni: CniTally::default(),
            health: Health::default(),
        };
        let (calls, called) = Calls::new(sandboxes);
        let mut tasks = Tasks::from_iter([
            ("follows the pods", begun.task),
            ("counts what ztunnel says", counting),
            ("looks at the node's wiring", looking),
        ]);
        let (leave, leaving) = oneshot::channel();
        tasks.extend(others(&view, begun.cluster.as_ref(), keeper, leaving));
        Ok(Self {
            view,
            sweeper,
            tried,
            tending,
            calls,
            called,
            cluster: begun.cluster,
            tasks,
            leave,
            _alone: alone,
        })
    }

    /// The agent, to be looked at.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// For whoever hears from the container runtime.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// Watches another task, which must not end before the agent, by what it does.
    pub fn watch(&mut self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.add(what, tokio::spawn(task));
    }

    /// Tends pods until `stop` is done. The data plane stays in place unless the configuration says otherwise.
    ///
    /// # Errors
    /// [`AgentError::Panicked`]; the data plane stays in place then.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
        info!(hybrid_cgroups = self.view.node.hierarchy.hybrid, "agent started");
        tell_of_order(&self.view.datapath);
        let beginning = begin(self.tried, self.view.zds.clone(), self.sweeper.clone());
        let (verifying, config) = (verify::regularly(self.view.clone()), self.view.config.clone());
        self.tasks.add("sweeps up", tokio::spawn(beginning));
        self.tasks.add("verifies", tokio::spawn(verifying));
        if config.contract != ContractMode::Node {
            let guards = config.guard != GuardMode::Off;
            let restocking = restock::keep(self.view.datapath.clone(), guards, config.cni.is_some());
            self.tasks
                .add("keeps programs in stock", tokio::spawn(restocking));
        }
        let panicked = tokio::select! {
            biased;
            () = stop => None,
            what = self.tasks.first_end() => Some(what),
            () = self.tending.follow(self.view.source.clone(), self.called) => Some("follows the pods"),
        };
        self.view.datapath.end_restocking();
        // Who only starts anew leaves its pods in the mesh.
        let remove = config.remove_on_exit && panicked.is_none();
        let mut pods = BTreeMap::new();
        if remove {
            pods = self.sweeper.living().await;
            uninstall(&config);
            self.tending.remove_all().await;
            // Without a keeper nobody hears it.
            _ = self.leave.send(());
            self.tasks.end_of(KEEPS_ZTUNNEL).await;
        } else {
            self.tending.stop().await;
        }
        self.view.zds.shutdown().await;
        self.tasks.abort();
        if let Some(cluster) = self.cluster.filter(|_| remove) {
            cluster.take_back(&self.view.source).await;
        }
        if remove {
            free_listeners(pods).await;
            match residue::remove(self.view.datapath.pins().root()) {
                Ok(()) => info!("data plane removed"),
                Err(error) => {
                    warn!(%error, "the data plane could not be removed whole; `weir cleanup` tries again");
                }
            }
        }
        info!("agent stopped");
        panicked.map_or(Ok(()), |what| Err(AgentError::Panicked(what)))
    }
}

/// Tasks that not every agent has.
fn others(
    view: &View,
    cluster: Option<&Cluster>,
    keeper: Option<Keeper>,
    leave: oneshot::Receiver<()>,
) -> impl Iterator<Item = Task> {
    let report = |cluster: &Cluster| cluster.report(view.registry.clone(), view.reports.clone());
    let reporting = cluster.map(|cluster| ("reports to the API server", report(cluster)));
    let keep = |keeper: Keeper| tokio::spawn(keeper.run(view.source.clone(), leave));
    let keeping = keeper.map(|keeper| (KEEPS_ZTUNNEL, keep(keeper)));
    reporting.into_iter().chain(keeping)
}

fn open_datapath(config: &AgentConfig, node: &Node) -> Result<Arc<Datapath>, DatapathError> {
    let cgroup = config.cgroup.clone();
    let datapath = Datapath::open(&DatapathConfig {
        pin_root: config.pin_root.clone(),
        layout: config.layout,
        cgroup: cgroup.unwrap_or_else(|| node.hierarchy.root.clone()),
        sizes: config.sizes,
        hook: config.hook,
    })?;
    Ok(Arc::new(datapath))
}

/// Before pods are let go, so that none starts that nobody will look after.
fn uninstall(config: &AgentConfig) {
    let cni = config.cni.as_ref();
    let Some(install) = cni.and_then(|cni| cni.install.as_ref()) else {
        return;
    };
    match cni_conf::remove(&install.conf_dir, &install.bin_dir, &install.last_word) {
        Ok(_) => info!("the CNI plugin is removed"),
        Err(error) => warn!(%error, "the CNI plugin stays; `weir cleanup` tries again"),
    }
}

/// Those that ztunnel has not closed: one that is not there to be told that a pod has left goes on listening in it, and
/// keeps the listener for whoever tells it of the pod again.
async fn free_listeners(pods: BTreeMap<u64, SharedNetns>) {
    let left = spawn_blocking(move || loopback::free(&pods)).await;
    for listener in left.unwrap_or_default() {
        warn!("{listener}");
    }
}

fn enroller(config: &AgentConfig, node: &Node, datapath: Arc<Datapath>, side: Option<NodeSide>) -> Enroller {
    Enroller::new(datapath, node.host_netns)
        .with_host(node.handle.clone())
        .with_guard(config.guard != GuardMode::Off)
        .with_node_side(side)
}

fn zds_config(config: &AgentConfig) -> ZdsConfig {
    ZdsConfig {
        socket: config.zds_socket.clone(),
        ..ZdsConfig::default()
    }
}

/// Who keeps ztunnels that have their sockets in their own namespaces, unless there are none by configuration.
fn keeper(
    config: &AgentConfig,
    node: &Node,
    datapath: &Arc<Datapath>,
    zds: &ZdsServer,
) -> Result<(Option<Keeper>, Option<NodeSide>, KeptList), AgentError> {
    if config.contract == ContractMode::InPod {
        return Ok((None, None, KeptList::default()));
    }
    let keeper = KeeperConfig {
        mode: config.contract,
        host: node.handle.clone(),
        host_id: node.id,
        named: config.ztunnel_netns.clone(),
        system_namespace: config.rules.system_namespace.clone(),
        fail_open: config.fail_open,
    };
    let (keeper, ztunnels, kept) = Keeper::new(keeper, datapath.clone(), zds.clone());
    let side = NodeSide::new(node.handle.clone(), node.hierarchy.clone(), ztunnels)
        .with_macvlan_outbound(config.macvlan_outbound.into())
        .with_fail_open(config.fail_open);
    Ok((Some(keeper), Some(side), kept))
}

/// Once the pods of the first list have been tried, those that nobody wants any more are let go, and ztunnel, which
/// drops what it is not told of, may come. From then on orphans are looked for regularly.
async fn begin(mut tried: Receiver<Trying>, zds: ZdsServer, sweeper: Sweeper) {
    // Nothing is ever sent: the end of all senders is the message. The first list may be long in coming.
    while tried.recv().await.is_some() {}
    sweeper.sweep().await;
    zds.serve();
    let mut ticks = interval_at(Instant::now() + SWEEP_INTERVAL, SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        sweeper.sweep().await;
    }
}

/// Before Linux 6.15 programs run in the order in which they were attached, and no kernel lets ours be the last for good.
fn tell_of_order(datapath: &Datapath) {
    match datapath.out_of_order() {
        Ok(programs) if programs.is_empty() => {}
        Ok(programs) => warn!(
            ?programs,
            "these run before Weir's programs at connect, or after them: if they rewrite the addresses of services, \
             ztunnel does not see the service, and its waypoint is passed by"
        ),
        Err(error) => warn!(%error, "which programs run at connect cannot be read"),
    }
}
