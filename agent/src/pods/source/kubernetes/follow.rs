//! Follows one kind of object: lists it, watches it from there, and begins anew where that breaks.

use std::convert::Infallible;
use std::marker::PhantomData;

use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::event::{Event, read_event};
use super::followed::{Followed, Freshness};
use super::shape::{Object, Page};
use crate::api_server::{Action, ApiError, ApiServer, Pause, Verb};

/// News of one kind of object.
#[derive(Debug)]
pub(super) enum Change<T> {
    /// These are all.
    Listed(Vec<T>),
    /// This one is new, or different.
    Put(T),
    /// This one is gone.
    Gone(T),
    /// What was told stays in force, but may not be true any more.
    Stale(ApiError),
    /// What was told is current again.
    Current,
}

/// How a watch ended.
enum Ended {
    /// As watches do; it goes on from this version.
    Resume(String),
    /// It could not begin, for a reason that has nothing to do with the version.
    NotBegun(String, ApiError),
    /// It cannot go on, only a list can help.
    Lost(ApiError),
}

/// Nobody listens any more.
struct Deserted;

/// Follows objects of kind `T`.
pub(super) struct Follower<T> {
    server: ApiServer,
    followed: Followed,
    changes: Sender<Change<T>>,
    pause: Pause,
    /// The latest version that was seen.
    seen: Option<String>,
    /// What is told is known to be out of date, maybe.
    stale: bool,
    /// The last list failed.
    refused: bool,
    objects: PhantomData<T>,
}

impl<T: Object> Follower<T> {
    pub(super) fn new(server: ApiServer, followed: Followed, changes: Sender<Change<T>>) -> Self {
        let patience = server.patience();
        Self {
            server,
            followed,
            changes,
            pause: Pause::new(patience.first_pause, patience.longest_pause),
            seen: None,
            stale: false,
            refused: false,
            objects: PhantomData,
        }
    }

    /// Until nobody listens.
    pub(super) async fn run(mut self) {
        match self.follow().await {
            Err(Deserted) => {}
        }
    }

    async fn follow(&mut self) -> Result<Infallible, Deserted> {
        let mut position: Option<String> = None;
        loop {
            let version = match position.take() {
                Some(version) => version,
                None => match self.list().await {
                    Ok((objects, version)) => {
                        self.refused = false;
                        self.tell(Change::Listed(objects)).await?;
                        self.note_current();
                        version
                    }
                    Err(error) => {
                        self.refused = true;
                        self.complain(error).await?;
                        sleep(self.pause.after_failure()).await;
                        continue;
                    }
                },
            };
            self.seen = Some(version.clone());
            position = self.watch_from(version).await?;
        }
    }

    /// Watches once; says where to go on from, if that is possible.
    async fn watch_from(&mut self, version: String) -> Result<Option<String>, Deserted> {
        let begun = Instant::now();
        let ended = self.watch(version).await?;
        self.pause.reset_after(begun.elapsed());
        let next = match ended {
            Ended::Resume(version) => Some(version),
            Ended::NotBegun(version, error) => {
                self.complain(error).await?;
                Some(version)
            }
            Ended::Lost(error) => {
                debug!(followed = %self.followed.resource(), %error, "is listed anew");
                None
            }
        };
        // Also where nothing is wrong: a server that ends all watches at once must not be asked without end.
        sleep(self.pause.after_failure()).await;
        Ok(next)
    }

    async fn list(&self) -> Result<(Vec<T>, String), ApiError> {
        let action = Action::new(Verb::List, self.followed.resource());
        // What was refused once may be by a server that is behind; the store is not.
        let freshness = match (&self.seen, self.refused) {
            (_, true) => Freshness::Newest,
            (None, false) => Freshness::NotOlderThan("0"),
            (Some(version), false) => Freshness::NotOlderThan(version),
        };
        let mut objects = Vec::new();
        let mut rest: Option<String> = None;
        loop {
            let request = self.followed.list(freshness, rest.as_deref());
            let page: Page<T> = self.server.ask(action, action.made(request)?).await?;
            objects.extend(page.items.into_iter().flatten());
            rest = page.metadata.rest.filter(|rest| !rest.is_empty());
            if rest.is_none() {
                return Ok((objects, page.metadata.resource_version));
            }
        }
    }

    async fn watch(&mut self, mut version: String) -> Result<Ended, Deserted> {
        let action = Action::new(Verb::Watch, self.followed.resource());
        let patience = self.server.patience();
        let request = action.made(self.followed.watch(&version, &patience));
        let begun = match request {
            Ok(request) => self.server.follow(action, request).await,
            Err(error) => Err(error),
        };
        let mut lines = match begun {
            Ok(lines) => lines,
            Err(error @ ApiError::Expired { .. }) => return Ok(Ended::Lost(error)),
            Err(error) => return Ok(Ended::NotBegun(version, error)),
        };
        if self.stale {
            self.tell(Change::Current).await?;
            self.note_current();
        }
        loop {
            let line = match timeout(patience.silence, lines.next()).await {
                Ok(Ok(Some(line))) => line,
                // Its time is over.
                Ok(Ok(None)) => return Ok(Ended::Resume(version)),
                // Whether the server is still there shows as soon as it is asked again.
                Ok(Err(ApiError::Broken { .. })) | Err(_) => return Ok(Ended::Resume(version)),
                Ok(Err(error)) => return Ok(Ended::Lost(error)),
            };
            let change = match read_event::<T>(action, &line) {
                Ok(Event::Put(object)) => Change::Put(object),
                Ok(Event::Gone(object)) => Change::Gone(object),
                Ok(Event::Bookmark(at)) => {
                    self.note(&mut version, &at);
                    continue;
                }
                Err(error) => return Ok(Ended::Lost(error)),
            };
            if let Change::Put(object) | Change::Gone(object) = &change {
                self.note(&mut version, &object.metadata().resource_version);
            }
            self.tell(change).await?;
        }
    }

    fn note(&mut self, version: &mut String, at: &str) {
        if !at.is_empty() {
            at.clone_into(version);
            self.seen = Some(at.to_owned());
        }
    }

    async fn tell(&self, change: Change<T>) -> Result<(), Deserted> {
        self.changes.send(change).await.map_err(|_| Deserted)
    }

    async fn complain(&mut self, error: ApiError) -> Result<(), Deserted> {
        if !self.stale {
            warn!(%error, "the API server is asked again; what it last said stays in force");
        }
        self.stale = true;
        self.tell(Change::Stale(error)).await
    }

    fn note_current(&mut self) {
        if std::mem::take(&mut self.stale) {
            info!(followed = %self.followed.resource(), "the API server answers again");
        }
    }
}
