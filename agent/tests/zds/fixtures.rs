//! A server in a directory of its own, and pods for it.
use std::fs::File;
use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;
use weir_agent::pods::pod::PodUid;
use weir_agent::zds::{Workload, ZdsConfig, ZdsEvent, ZdsServer, ZdsStatus};

/// Longest wait for what has to happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A directory that goes with its owner.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "weir-zds-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("run/zt.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub struct Fixture {
    pub server: ZdsServer,
    pub events: Receiver<ZdsEvent>,
    pub directory: Directory,
}

/// Deadlines that no test reaches by accident; the limiter is out of the way.
pub fn config(directory: &Directory) -> ZdsConfig {
    ZdsConfig {
        socket: directory.socket(),
        hello_timeout: PATIENCE,
        ack_timeout: PATIENCE,
        add_timeout: PATIENCE,
        remove_timeout: PATIENCE,
        handshake_interval: Duration::ZERO,
        first_retry: Duration::from_millis(20),
        ..ZdsConfig::default()
    }
}

impl Fixture {
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub fn start_with(adjust: impl FnOnce(&mut ZdsConfig)) -> Self {
        let directory = Directory::new();
        let mut config = config(&directory);
        adjust(&mut config);
        let server = ZdsServer::start(config).unwrap();
        server.serve();
        Self {
            events: server.events(),
            server,
            directory,
        }
    }

    /// The next event.
    pub async fn event(&mut self) -> ZdsEvent {
        timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .unwrap()
    }

    /// The next event that `wanted` accepts.
    pub async fn event_like(&mut self, wanted: impl Fn(&ZdsEvent) -> bool) -> ZdsEvent {
        loop {
            let event = self.event().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Starts an add; the answer comes later.
    pub fn add(&self, uid: &str) -> Answer<weir_agent::zds::Acked, weir_agent::zds::AddError> {
        let server = self.server.clone();
        let workload = pod(uid);
        Answer::to(async move { server.add(workload).await })
    }

    /// Starts a removal; the answer comes later.
    pub fn remove(&self, uid: &str) -> Answer<weir_agent::zds::Removed, weir_agent::zds::RemoveError> {
        let server = self.server.clone();
        let uid = self::uid(uid);
        Answer::to(async move { server.remove(&uid).await })
    }
}

/// What a call will return.
pub struct Answer<T, E>(tokio::task::JoinHandle<Result<T, E>>);

impl<T: Send + 'static, E: Send + 'static> Answer<T, E> {
    fn to(call: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        Self(tokio::spawn(call))
    }

    pub async fn get(self) -> Result<T, E> {
        timeout(PATIENCE, self.0)
            .await
            .expect("an answer in time")
            .unwrap()
    }

    pub fn is_there(&self) -> bool {
        self.0.is_finished()
    }
}

/// Any file stands for a network namespace here: only its identity matters.
pub fn netns() -> Arc<std::os::fd::OwnedFd> {
    Arc::new(File::open("/proc/self/ns/net").unwrap().into())
}

/// What the netns of [`pod`] looks like to the receiver.
pub fn netns_identity() -> (u64, u64) {
    let metadata = std::fs::metadata("/proc/self/ns/net").unwrap();
    (metadata.dev(), metadata.ino())
}

pub fn uid(text: &str) -> PodUid {
    PodUid::new(text).unwrap()
}

pub fn pod(uid: &str) -> Workload {
    Workload {
        uid: self::uid(uid),
        name: format!("{uid}-name"),
        namespace: "ns".to_owned(),
        service_account: "sa".to_owned(),
        netns: netns(),
    }
}

/// The (acked, nack) of a pod.
pub fn pod_status(status: &ZdsStatus, uid: &str) -> (bool, Option<String>) {
    let pod = &status.pods[&self::uid(uid)];
    (pod.acked, pod.nack.clone())
}
