//! The operator's end.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::api::Refusal;

/// Longer answers mean that something is not what it seems.
const LONGEST_ANSWER: usize = 64 << 20;
/// An agent that takes longer hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no agent answers on {}: {source}; is it running, and is this its --admin-socket?", path.display())]
    Down {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be used.
    #[error("{}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the agent broke off: {0}")]
    Http(#[from] hyper::Error),
    /// The request could not be written.
    #[error("the request is none: {0}")]
    Request(#[from] hyper::http::Error),
    /// The agent takes too long.
    #[error("the agent does not answer within {ANSWER_WITHIN:?}")]
    Late,
    /// The agent does not know the pod.
    #[error("{0}")]
    UnknownPod(String),
    /// The agent refused.
    #[error("the agent refused: {0}")]
    Refused(String),
    /// The answer is none that this version knows.
    #[error("the agent's answer cannot be read: {0}; are `weir` and the agent of the same version?")]
    Answer(#[from] serde_json::Error),
    /// The answer has no end.
    #[error("the agent's answer is too long")]
    TooLong,
}

/// Asks for JSON.
///
/// # Errors
/// [`ClientError`].
pub async fn ask<T: DeserializeOwned>(socket: &Path, method: Method, path: &str) -> Result<T, ClientError> {
    let asked = async {
        let response = begin(socket, method, path).await?;
        Ok(serde_json::from_slice(&read(response.into_body()).await?)?)
    };
    timeout(ANSWER_WITHIN, asked)
        .await
        .unwrap_or(Err(ClientError::Late))
}

/// Follows JSON lines until the agent ends them or `take` has had enough.
///
/// # Errors
/// [`ClientError`], and what `take` fails with.
pub async fn follow<T, E>(
    socket: &Path,
    path: &str,
    mut take: impl FnMut(T) -> Result<ControlFlow<()>, E>,
) -> Result<(), E>
where
    T: DeserializeOwned,
    E: From<ClientError>,
{
    let mut body = begin(socket, Method::GET, path).await?.into_body();
    let mut pending = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(ClientError::from)?;
        pending.extend_from_slice(frame.data_ref().map_or(&[][..], Bytes::as_ref));
        while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let line = serde_json::from_slice(&line).map_err(ClientError::from)?;
            if take(line)?.is_break() {
                return Ok(());
            }
        }
        if pending.len() > LONGEST_ANSWER {
            return Err(ClientError::TooLong.into());
        }
    }
    Ok(())
}

/// Whether an agent listens.
///
/// # Errors
/// [`ClientError::Socket`] if that cannot be told.
pub async fn is_up(socket: &Path) -> Result<bool, ClientError> {
    match connect(socket).await {
        Ok(_) => Ok(true),
        Err(ClientError::Down { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a request; the answer is the agent's consent.
async fn begin(socket: &Path, method: Method, path: &str) -> Result<Response<Incoming>, ClientError> {
    let stream = connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What goes wrong with the connection is told by the request too.
    tokio::spawn(async { drop(connection.await) });
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "weir")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = read(response.into_body()).await?;
    let error = match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) => refusal.error,
        Err(_) => status.to_string(),
    };
    match status {
        StatusCode::NOT_FOUND | StatusCode::CONFLICT => Err(ClientError::UnknownPod(error)),
        _ => Err(ClientError::Refused(error)),
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(socket).await.map_err(|source| {
        let path = socket.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::Down { path, source },
            _ => ClientError::Socket { path, source },
        }
    })
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, ClientError> {
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            content.extend_from_slice(data);
        }
        if content.len() > LONGEST_ANSWER {
            return Err(ClientError::TooLong);
        }
    }
    Ok(content)
}
