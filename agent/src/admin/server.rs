//! The agent's end.

use std::path::Path;

use nix::unistd::geteuid;
use socket2::Type;
use tokio::net::{UnixListener, UnixStream};
use tracing::{debug, warn};

use super::routes;
use crate::http::{self, Slots};
use crate::run::view::View;
use crate::socket_file::{self, BindError, SocketFile};

/// Operators at the same time.
const CONNECTIONS: usize = 64;

/// The socket, taken before the agent touches anything: whoever holds it is the node's agent.
#[derive(Debug)]
pub struct AdminServer {
    listener: UnixListener,
    // Removes the file when the server ends.
    _file: SocketFile,
}

impl AdminServer {
    /// Takes the socket.
    ///
    /// # Errors
    /// [`BindError`], above all if another agent has it.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let (socket, file) = socket_file::bind(path, Type::STREAM)?;
        let listener = UnixListener::from_std(socket.into()).map_err(|source| BindError::Io {
            path: path.to_owned(),
            step: "poll the socket",
            source,
        })?;
        Ok(Self {
            listener,
            _file: file,
        })
    }

    /// Answers operators until it is dropped.
    pub async fn serve(self, view: View) {
        let slots = Slots::new(CONNECTIONS);
        loop {
            let slot = slots.take().await;
            match self.listener.accept().await {
                Ok((stream, _unnamed)) if is_ours(&stream) => {
                    let view = view.clone();
                    tokio::spawn(async move {
                        http::serve(stream, |request| routes::answer(view.clone(), request)).await;
                        drop(slot);
                    });
                }
                Ok(_) => warn!("somebody who is not this user was turned away from the admin socket"),
                Err(error) => {
                    debug!(%error, "an operator could not be accepted");
                    tokio::time::sleep(http::ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The file's mode keeps others out; this does so even where its directory was made by somebody else.
fn is_ours(stream: &UnixStream) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}
