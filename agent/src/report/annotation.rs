//! The annotation that says that a pod is in the mesh.

use hyper::Request;
use hyper::header::CONTENT_TYPE;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::timeout;
use tracing::warn;

use super::worker::FAREWELL;
use crate::api_server::{Action, ApiError, ApiServer, Resource, Verb};
use crate::pods::pod::{PodName, PodUid};
use crate::pods::source::kubernetes::{REDIRECTION, Redirections};
use crate::pods::source::{PodSource, SourceEvent};
use crate::run::registry::PodState;

/// The annotation's value, or its absence.
pub(super) type Value = Option<&'static str>;

pub(super) const PENDING: Value = Some("pending");

/// What a pod in this state should say.
pub(super) const fn wanted(state: &PodState) -> Value {
    match state {
        PodState::Enrolled => Some("enabled"),
        PodState::Pending(_) | PodState::Failed(_) => PENDING,
        PodState::Left(_) => None,
    }
}

/// A change of the annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    pub(super) uid: PodUid,
    pub(super) name: PodName,
    pub(super) value: Value,
}

impl Annotation {
    const ACTION: Action = Action::new(Verb::Patch, Resource::PodsStatus);

    /// The UID is a condition: another pod of that name is not touched.
    fn request(&self) -> Result<Request<Vec<u8>>, ApiError> {
        let patch = json!({
            "metadata": {"uid": self.uid.as_str(), "annotations": {REDIRECTION: self.value}},
        });
        let (namespace, name) = (self.name.namespace(), self.name.name());
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/status?fieldManager=weir");
        let request = Request::patch(path).header(CONTENT_TYPE, "application/merge-patch+json");
        Self::ACTION.made(request.body(patch.to_string().into_bytes()))
    }

    pub(super) async fn write(&self, server: &ApiServer) -> Result<(), ApiError> {
        server
            .ask::<IgnoredAny>(Self::ACTION, self.request()?)
            .await
            .map(|_| ())
    }
}

/// Takes back what is written on the node's pods, as far as that is possible in a few seconds: they are out of the mesh.
pub async fn take_back(server: &ApiServer, source: &PodSource, redirections: &Redirections) {
    let SourceEvent::Snapshot(snapshot) = source.events.borrow().clone() else {
        return;
    };
    let all = async {
        for entry in &*snapshot.pods {
            if matches!(redirections.get(&entry.pod.uid), Some(Some(_))) {
                let annotation = Annotation {
                    uid: entry.pod.uid.clone(),
                    name: entry.pod.name.clone(),
                    value: None,
                };
                if let Err(error) = annotation.write(server).await {
                    warn!(pod = %annotation.name, %error, "the pod still says that it is in the mesh");
                }
            }
        }
    };
    if timeout(FAREWELL, all).await.is_err() {
        warn!("the API server is too slow: pods may still say that they are in the mesh");
    }
}
