//! The socket that the plugin asks on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};
use weir_cni::protocol::{self, Answer, Outcome};

use super::desk::Desk;
use super::line::Line;
use super::{last_word, question, tally};
use crate::cni_conf::{self, Installer};
use crate::http::{ACCEPT_PAUSE, Slots};
use crate::pods::source::SourceEvent;
use crate::polled::polled;
use crate::run::calls::Calls;
use crate::run::view::View;
use crate::socket_file::{self, BindError, SocketFile};

/// Questions answered at the same time; a node starts far fewer pods at once.
const CONNECTIONS: usize = 256;
/// A plugin says all at once.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// Between attempts to have the socket.
const BIND_PAUSE: Duration = Duration::from_secs(1);
/// What the agent misses while it does not have the socket.
const PART: &str = "the CNI plugin's socket";

/// Answers the plugin, and keeps it installed, until it is dropped. There is no socket before the first list of pods: without one the plugin
/// lets those start that are none of the mesh's business, and would have to wait otherwise.
/// Until the plugin is installed the agent is not ready, from this call on.
pub fn serve(
    socket: PathBuf,
    installer: Option<Installer>,
    view: View,
    calls: Calls,
) -> impl Future<Output = ()> {
    if installer.is_some() {
        cni_conf::note_missing(&view.health);
    }
    answer_once_listed(socket, installer, view, calls)
}

async fn answer_once_listed(socket: PathBuf, installer: Option<Installer>, view: View, calls: Calls) {
    let mut events = view.source.events.clone();
    let listed = |event: &SourceEvent| matches!(event, SourceEvent::Snapshot(_));
    if events.wait_for(listed).await.is_err() {
        return;
    }
    let (listener, _file) = bind_at_last(&socket, &view).await;
    info!(socket = %socket.display(), "the CNI plugin is answered");
    let desk = Arc::new(Desk::new(view.clone(), calls));
    let health = view.health.clone();
    let install = async {
        if let Some(installer) = installer {
            cni_conf::keep(installer, health).await;
        }
    };
    tokio::join!(
        install,
        accept(listener, desk),
        last_word::keep(view, weir_cni::last_word::beside(&socket)),
    );
}

async fn bind_at_last(socket: &Path, view: &View) -> (AsyncFd<Socket>, SocketFile) {
    loop {
        match bind(socket) {
            Ok(bound) => {
                view.health.set(PART, None);
                return bound;
            }
            Err(error) => {
                error!(%error, "pods of the mesh cannot start; trying again");
                view.health.set(PART, Some(error.to_string()));
            }
        }
        sleep(BIND_PAUSE).await;
    }
}

fn bind(path: &Path) -> Result<(AsyncFd<Socket>, SocketFile), BindError> {
    let (socket, file) = socket_file::bind(path, Type::STREAM)?;
    let listener = polled(socket, Interest::READABLE).map_err(|source| BindError::Io {
        path: path.to_owned(),
        step: "poll the socket",
        source,
    })?;
    Ok((listener, file))
}

async fn accept(listener: AsyncFd<Socket>, desk: Arc<Desk>) {
    let slots = Slots::new(CONNECTIONS);
    loop {
        let slot = slots.take().await;
        match listener.async_io(Interest::READABLE, Line::accept).await {
            Ok(line) if line.is_ours() => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    answer(line, &desk).await;
                    drop(slot);
                });
            }
            Ok(_) => warn!("somebody who is not this user was turned away from the CNI plugin's socket"),
            Err(error) => {
                debug!(%error, "a CNI plugin could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(line: Line, desk: &Arc<Desk>) {
    let begun = Instant::now();
    let outcome = match timeout(ASK_WITHIN, question::read(&line)).await {
        Ok(Ok((request, netns))) => {
            let command = tally::Command::of(&request.command);
            let outcome = desk.answer(request, netns).await;
            desk.tally()
                .count(command, tally::Outcome::of(&outcome), begun.elapsed());
            outcome
        }
        Ok(Err(error)) => {
            warn!(%error, "a question of a CNI plugin cannot be answered");
            desk.tally().count_malformed();
            Outcome::Refused {
                why: error.to_string(),
            }
        }
        Err(_) => return debug!("a CNI plugin has asked nothing"),
    };
    let said = match protocol::line(&Answer::new(outcome)) {
        Ok(answer) => line.say(&answer).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = said {
        debug!(%error, "a CNI plugin has not waited for its answer");
    }
}
