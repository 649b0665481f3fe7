//! Which question is answered how.

use std::fmt::Display;

use futures::stream::unfold;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::api::verify::VerifyReport;
use crate::http::{Body, json, lines, refusal};
use crate::run::registry::{PodState, PodStatus};
use crate::run::view::View;
use crate::status::{self, FindPodError};
use crate::verify;

/// Answers one request.
pub(super) async fn answer(view: View, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/status") => blocking(move || status::of_node(&view)).await,
        (&Method::GET, path) if path.starts_with("/status/") => {
            let query = path.trim_start_matches("/status/").to_owned();
            match status::find(view.registry.pods(), &query) {
                Ok(pod) => blocking(move || status::of_pod(&view, &pod)).await,
                Err(error) => not_found(&error),
            }
        }
        (&Method::GET, "/trace") => trace(&view, None),
        (&Method::GET, path) if path.starts_with("/trace/") => {
            match status::find(view.registry.pods(), path.trim_start_matches("/trace/")) {
                Ok(pod) => trace(&view, Some(&pod)),
                Err(error) => not_found(&error),
            }
        }
        (&Method::POST, "/verify") => {
            verify::pods(&view, view.subjects.all()).await;
            json(StatusCode::OK, &verify::report(wanted(&view)))
        }
        (&Method::POST, path) if path.starts_with("/verify/") => {
            match status::find(view.registry.pods(), path.trim_start_matches("/verify/")) {
                Ok(pod) => json(StatusCode::OK, &verify_one(&view, pod).await),
                Err(error) => not_found(&error),
            }
        }
        (method, path) => refusal(
            StatusCode::NOT_FOUND,
            &format!("{method} {path} is not known here"),
        ),
    }
}

/// Decisions, until the operator leaves.
fn trace(view: &View, pod: Option<&PodStatus>) -> Response<Body> {
    let netns = match pod.map(|pod| pod.netns) {
        Some(None) => {
            return refusal(
                StatusCode::CONFLICT,
                "the pod is not enrolled: there is nothing to trace",
            );
        }
        Some(netns) => netns,
        None => None,
    };
    match view.tracer.listen(netns) {
        Ok(listener) => lines(unfold(listener, async |mut listener| {
            let line = listener.next().await?;
            Some((line, listener))
        })),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

async fn verify_one(view: &View, pod: PodStatus) -> VerifyReport {
    verify::pods(view, view.subjects.get(&pod.uid).into_iter().collect()).await;
    verify::report(vec![view.registry.get(&pod.uid).unwrap_or(pod)])
}

/// The pods that are meant to be in the mesh.
fn wanted(view: &View) -> Vec<PodStatus> {
    let mut pods = view.registry.pods();
    pods.retain(|pod| !matches!(pod.state, PodState::Left(_)));
    pods
}

fn not_found(error: &FindPodError) -> Response<Body> {
    let status = match error {
        FindPodError::Unknown { .. } => StatusCode::NOT_FOUND,
        FindPodError::Ambiguous { .. } => StatusCode::CONFLICT,
    };
    refusal(status, error)
}

/// The kernel is asked on threads that may wait.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Response<Body>
where
    T: Serialize + Send + 'static,
    E: Display + Send + 'static,
{
    match spawn_blocking(work).await {
        Ok(Ok(value)) => json(StatusCode::OK, &value),
        Ok(Err(error)) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error),
        Err(panicked) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &panicked),
    }
}
