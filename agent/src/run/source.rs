//! Begins what the node's pods are known by.

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::config::SourceConfig;
use super::registry::Registry;
use crate::api_server::{ApiServer, OpenError, Patience};
use crate::pods::source::PodSource;
use crate::pods::source::file::FileSource;
use crate::pods::source::kubernetes::{KubernetesSource, NodeName, Redirections};
use crate::report::{self, ReportTally, Reporter};

/// A source of pods, and the task behind it.
pub(super) struct Begun {
    pub(super) source: PodSource,
    pub(super) task: JoinHandle<()>,
    /// Where the pods come from a cluster.
    pub(super) cluster: Option<Cluster>,
}

/// The cluster, as far as it is told of its pods.
pub(super) struct Cluster {
    server: ApiServer,
    node: NodeName,
    redirections: watch::Receiver<Redirections>,
}

/// Begins to follow the source.
pub(super) async fn begin(config: &SourceConfig) -> Result<Begun, OpenError> {
    match config {
        SourceConfig::File(path) => {
            let (file, source) = FileSource::new(path);
            Ok(Begun {
                source,
                task: tokio::spawn(file.run()),
                cluster: None,
            })
        }
        SourceConfig::Kubernetes(config) => {
            let server = ApiServer::open(config.kubeconfig.as_deref(), Patience::default()).await?;
            let (kubernetes, source) = KubernetesSource::new(server.clone(), config.node.clone());
            let cluster = Cluster {
                server,
                node: config.node.clone(),
                redirections: kubernetes.redirections(),
            };
            Ok(Begun {
                source,
                task: tokio::spawn(kubernetes.run()),
                cluster: Some(cluster),
            })
        }
    }
}

impl Cluster {
    /// Begins to report on the pods of `registry`.
    pub(super) fn report(&self, registry: Registry, tally: ReportTally) -> JoinHandle<()> {
        let Self {
            server,
            node,
            redirections,
        } = self;
        let reporter = Reporter::new(
            server.clone(),
            node.clone(),
            registry,
            redirections.clone(),
            tally,
        );
        tokio::spawn(reporter.run())
    }

    /// Says that no pod is in the mesh any more.
    pub(super) async fn take_back(&self, source: &PodSource) {
        let redirections = self.redirections.borrow().clone();
        report::take_back(&self.server, source, &redirections).await;
    }
}
