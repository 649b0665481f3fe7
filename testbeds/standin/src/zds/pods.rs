//! The pods that the proxy serves, each with its listeners.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::wire::Workload;
use crate::dns::server as dns;
use crate::dns::zone::Zone;
use crate::mesh::Mesh;
use crate::netns::{Identity, Netns};
use crate::record::Recorder;
use crate::sockets::{Factory, MARK};
use crate::tunnel::{Instance, Serves, listen};

/// What every pod's instance is given.
pub struct Settings {
    /// Spoof the client's address towards applications, and make listeners transparent.
    pub original_source: bool,
    /// Who is in the mesh.
    pub mesh: Arc<Mesh>,
    /// DNS answers; none to leave DNS alone.
    pub dns: Option<Arc<Zone>>,
    /// Where records go.
    pub recorder: Recorder,
}

/// All pods of the proxy.
pub struct Pods {
    settings: Settings,
    running: HashMap<String, Running>,
    /// Those whose listeners could not be bound yet.
    pending: HashMap<String, (Workload, Arc<File>)>,
}

struct Running {
    netns: Identity,
    listeners: JoinSet<()>,
    dns: JoinSet<()>,
    cut: watch::Sender<bool>,
}

impl Pods {
    /// No pods yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            running: HashMap::new(),
            pending: HashMap::new(),
        }
    }

    /// Are there pods whose listeners could not be bound?
    pub fn any_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Gives up on those, because they will be announced again.
    pub fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// Serves a pod; does nothing if it is served in this namespace already.
    pub async fn add(&mut self, uid: &str, workload: Workload, netns: Arc<File>) -> io::Result<()> {
        let result = self.start(uid, &workload, Arc::clone(&netns)).await;
        match &result {
            Ok(()) => self.pending.remove(uid),
            Err(_) => self.pending.insert(uid.to_owned(), (workload, netns)),
        };
        result
    }

    /// Tries the pending ones again.
    pub async fn retry_pending(&mut self) {
        for (uid, (workload, netns)) in std::mem::take(&mut self.pending) {
            if let Err(error) = self.add(&uid, workload, netns).await {
                eprintln!("weir-standin: pod {uid}: still not served: {error}");
            }
        }
    }

    /// Stops serving a pod, if it is served.
    pub async fn remove(&mut self, uid: &str) {
        self.pending.remove(uid);
        if let Some(pod) = self.running.remove(uid) {
            pod.drain().await;
        }
    }

    /// Stops serving every pod that is not among the `announced`.
    pub async fn keep_only(&mut self, announced: &HashSet<String>) {
        let gone: Vec<_> = self
            .running
            .extract_if(|uid, _| !announced.contains(uid))
            .collect();
        for (_, pod) in gone {
            pod.drain().await;
        }
    }

    async fn start(&mut self, uid: &str, workload: &Workload, netns: Arc<File>) -> io::Result<()> {
        let identity = Identity::of(&netns)?;
        if self.running.get(uid).is_some_and(|pod| pod.netns == identity) {
            return Ok(());
        }
        if let Some(old) = self.running.remove(uid) {
            old.drain().await;
        }
        let sockets = Factory {
            netns: Netns::enter(netns).await?,
            mark: Some(MARK),
        };
        let pod = Running::start(uid, workload, identity, sockets, &self.settings).await?;
        self.running.insert(uid.to_owned(), pod);
        Ok(())
    }
}

impl Running {
    async fn start(
        uid: &str,
        workload: &Workload,
        netns: Identity,
        sockets: Factory,
        settings: &Settings,
    ) -> io::Result<Self> {
        let (cut, on_cut) = watch::channel(false);
        let instance = Instance {
            sockets: sockets.clone(),
            serves: Serves::Pod {
                uid: uid.to_owned(),
                identity: format!("{}/{}", workload.namespace, workload.service_account),
            },
            original_source: settings.original_source,
            mesh: Arc::clone(&settings.mesh),
            recorder: settings.recorder.clone(),
            cut: on_cut,
        };
        let listeners = listen(&Arc::new(instance)).await?;
        let dns = match &settings.dns {
            Some(zone) => dns::listen(dns::Server {
                sockets,
                zone: Arc::clone(zone),
                pod: uid.to_owned(),
                recorder: settings.recorder.clone(),
            }),
            None => {
                return Ok(Self {
                    netns,
                    listeners,
                    dns: JoinSet::new(),
                    cut,
                });
            }
        };
        Ok(Self {
            netns,
            listeners,
            dns: dns.await?,
            cut,
        })
    }

    /// Closes the listeners and the connections, which ztunnel gives no time either.
    async fn drain(mut self) {
        self.listeners.shutdown().await;
        self.dns.shutdown().await;
        // Nobody listens when no connection is left.
        self.cut.send(true).unwrap_or_default();
    }
}
