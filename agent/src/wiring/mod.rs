//! How the node and its pods are connected: read when the agent starts, and again when it changes.

mod changes;
mod told;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{info, warn};
use weir_netdetect::choose::{ChoiceConfig, Contract};
use weir_netdetect::report::{DetectError, Detector};

use crate::enroll::EnrollError;
use changes::Changes;

/// Why the wiring could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The node's netns cannot be opened.
    #[error("the node's network namespace {path}: {source}; is it what --host-netns should name?")]
    Open {
        /// The path.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The node cannot be looked at.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// Changes cannot be heard of.
    #[error(transparent)]
    Netlink(#[from] EnrollError),
    /// Looking panicked.
    #[error("looking at the wiring panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// What was seen of the node, and when.
#[derive(Debug)]
struct Seen {
    detector: Detector,
    at: SystemTime,
}

/// How the node is connected, as last seen; clones see the same.
#[derive(Clone, Debug)]
pub struct Wiring(watch::Receiver<Option<Arc<Seen>>>);

/// Whose wiring it is.
#[derive(Clone, Debug)]
struct Place {
    host_netns: PathBuf,
    cni_conf_dir: PathBuf,
}

impl Wiring {
    /// Begins to look at the node whose netns and CNI configuration these are.
    #[must_use]
    pub fn start(host_netns: PathBuf, cni_conf_dir: PathBuf) -> (Self, JoinHandle<()>) {
        let (sender, seen) = watch::channel(None);
        let place = Place {
            host_netns,
            cni_conf_dir,
        };
        (Self(seen), tokio::spawn(follow(place, sender)))
    }

    fn seen(&self) -> Option<Arc<Seen>> {
        self.0.borrow().clone()
    }
}

async fn follow(place: Place, sender: watch::Sender<Option<Arc<Seen>>>) {
    let mut changes = None;
    loop {
        if changes.is_none() {
            changes = Changes::start(&place)
                .inspect_err(|error| warn!(%error, "changes of the node's wiring are not heard of"))
                .ok();
        }
        match look(place.clone()).await {
            Ok(seen) => {
                tell(sender.borrow().as_deref(), &seen);
                sender.send_replace(Some(Arc::new(seen)));
            }
            Err(error) => warn!(%error, "the node's wiring cannot be read"),
        }
        match &mut changes {
            Some(changes) => changes.next(&place).await,
            None => changes::pause().await,
        }
    }
}

async fn look(place: Place) -> Result<Seen, WiringError> {
    spawn_blocking(move || {
        let host = open(&place.host_netns)?;
        let config = ChoiceConfig::default();
        let detector = Detector::new(host.as_fd(), &place.cni_conf_dir, Contract::InPod, config)?;
        Ok(Seen {
            detector,
            at: SystemTime::now(),
        })
    })
    .await?
}

fn open(path: &Path) -> Result<File, WiringError> {
    File::open(path).map_err(|source| WiringError::Open {
        path: path.to_owned(),
        source,
    })
}

/// Says what is new, once.
fn tell(before: Option<&Seen>, now: &Seen) {
    let plugins = told::plugins(now);
    if before.map(told::plugins).as_ref() != Some(&plugins) {
        info!(?plugins, "the container runtime is configured to call");
    }
    let known = before.map(told::problems).unwrap_or_default();
    for problem in told::problems(now) {
        if !known.contains(&problem) {
            warn!("{problem}");
        }
    }
}
