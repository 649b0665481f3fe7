//! What Kubernetes and Prometheus ask the agent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tracing::{debug, info};

use crate::http::{self, Body, Slots, bytes, text};
use crate::metrics;
use crate::run::view::View;

/// Askers at the same time.
const CONNECTIONS: usize = 64;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another --http-address, or none")]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

/// The listener.
#[derive(Debug)]
pub struct ProbeServer {
    listener: TcpListener,
}

impl ProbeServer {
    /// Listens.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let listener = match TcpListener::bind(address).await {
            // All addresses of a node without IPv6 are IPv4 addresses.
            Err(error) if address.ip().is_unspecified() && is_without_ipv6(&error) => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
            }
            other => other,
        };
        let listener = listener.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        info!(address = %bound, "answering probes and metrics");
        Ok(Self { listener })
    }

    /// Answers until it is dropped.
    pub async fn serve(self, view: View) {
        let slots = Slots::new(CONNECTIONS);
        loop {
            let slot = slots.take().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let view = view.clone();
                    tokio::spawn(async move {
                        http::serve(stream, |request| answer(view.clone(), request)).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(http::ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

async fn answer(view: View, request: Request<Incoming>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(&view.missing()),
        "/metrics" => all_metrics(view).await,
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /healthz, /readyz and /metrics\n",
        ),
    }
}

fn ready(missing: &[String]) -> Response<Body> {
    match missing {
        [] => text(StatusCode::OK, "ready\n"),
        missing => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waits for {}\n", missing.join("\nwaits for ")),
        ),
    }
}

async fn all_metrics(view: View) -> Response<Body> {
    match spawn_blocking(move || metrics::gather(&view)).await {
        Ok(Ok(snapshot)) => bytes(StatusCode::OK, metrics::CONTENT_TYPE, metrics::render(&snapshot)),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        Err(panicked) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{panicked}\n")),
    }
}
