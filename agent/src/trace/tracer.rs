//! Who listens; with the first the kernel side begins to tell, with the last it ends.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::Interest;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tracing::warn;
use weir_common::node::NodeSettings;

use super::reader::Reader;
use crate::api::VERSION;
use crate::api::trace::TraceLine;
use crate::datapath::{Datapath, DatapathError};
use crate::polled::polled;
use crate::run::node::change_settings;
use crate::run::registry::Registry;

/// Lines kept for who is slow.
const BACKLOG: usize = 4096;

/// Why nobody can listen.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The ring or the settings cannot be used.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The ring cannot be waited for, or the clock not be read.
    #[error("the ring of events: {0}")]
    Io(#[from] io::Error),
}

/// All who listen; clones share them.
#[derive(Clone)]
pub struct Tracer {
    inner: Arc<Inner>,
}

struct Inner {
    datapath: Arc<Datapath>,
    registry: Registry,
    lines: broadcast::Sender<Arc<TraceLine>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    listeners: usize,
    reader: Option<JoinHandle<()>>,
}

impl Tracer {
    /// Nobody listens yet.
    #[must_use]
    pub fn new(datapath: Arc<Datapath>, registry: Registry) -> Self {
        let inner = Inner {
            datapath,
            registry,
            lines: broadcast::channel(BACKLOG).0,
            state: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// How many listen.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.inner.lock().listeners
    }

    /// Listens to the decisions about one pod, by netns cookie, or about all.
    ///
    /// # Errors
    /// [`TraceError`]; the kernel side tells nothing then.
    pub fn listen(&self, netns: Option<u64>) -> Result<Listener, TraceError> {
        let mut state = self.inner.lock();
        // Before the first decision, so that none is missed.
        let lines = self.inner.lines.subscribe();
        if state.listeners == 0 {
            state.reader = Some(self.inner.begin()?);
        }
        state.listeners += 1;
        Ok(Listener {
            tracer: self.clone(),
            lines,
            netns,
            begun: false,
        })
    }
}

impl Inner {
    fn begin(&self) -> Result<JoinHandle<()>, TraceError> {
        let mut ring = self.datapath.maps().events()?;
        // What an earlier agent has left is no news.
        while ring.next().is_some() {}
        let ring = polled(ring, Interest::READABLE)?;
        let reader = Reader::new(ring, self.registry.clone(), self.lines.clone());
        change_settings(&self.datapath, |settings| settings.flags |= NodeSettings::TRACE)?;
        Ok(tokio::spawn(reader.run()))
    }

    fn end(&self, reader: Option<JoinHandle<()>>) {
        if let Err(error) = change_settings(&self.datapath, |settings| settings.flags &= !NodeSettings::TRACE)
        {
            warn!(%error, "the kernel side goes on telling its decisions though nobody listens");
        }
        if let Some(reader) = reader {
            reader.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who listens, until it is dropped.
pub struct Listener {
    tracer: Tracer,
    lines: broadcast::Receiver<Arc<TraceLine>>,
    netns: Option<u64>,
    begun: bool,
}

impl Listener {
    /// The next line.
    pub async fn next(&mut self) -> Option<TraceLine> {
        if !std::mem::replace(&mut self.begun, true) {
            return Some(TraceLine::Listening { api_version: VERSION });
        }
        loop {
            match self.lines.recv().await {
                Ok(line) if self.concerns(&line) => return Some(TraceLine::clone(&line)),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => return Some(TraceLine::Lost { count }),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn concerns(&self, line: &TraceLine) -> bool {
        match (line, self.netns) {
            (TraceLine::Decision(decision), Some(netns)) => decision.netns == netns,
            _ => true,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let inner = &self.tracer.inner;
        let mut state = inner.lock();
        state.listeners -= 1;
        if state.listeners == 0 {
            let reader = state.reader.take();
            inner.end(reader);
        }
    }
}
