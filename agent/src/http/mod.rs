//! As much of HTTP as probes, metrics and the operator's socket need.

mod answer;
mod slots;

use std::convert::Infallible;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

pub use answer::{Body, bytes, json, lines, refusal, text};
pub use slots::Slots;

/// A client that takes longer to ask wants to hold us up.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be accepted, mostly for want of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves one connection to its end.
pub async fn serve<S, H, F>(stream: S, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let service = service_fn(|request| {
        let answer = handler(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASK_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "an HTTP connection ended badly");
    }
}
