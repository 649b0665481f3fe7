//! One pod, asked for when somebody cannot wait for the watch to tell of it.

use futures::future::BoxFuture;
use hyper::Request;
use hyper::header::ACCEPT;

use super::shape::{KnownPod, WrittenNamespace, WrittenPod};
use crate::api_server::{Action, ApiError, ApiServer, Resource, Verb};
use crate::pods::pod::{PodEntry, PodName};
use crate::pods::source::{FindPod, SourceError};

/// Finds pods by name; clones share the server.
#[derive(Clone, Debug)]
pub struct PodFinder {
    server: ApiServer,
}

impl PodFinder {
    /// Asks `server`.
    #[must_use]
    pub const fn new(server: ApiServer) -> Self {
        Self { server }
    }

    /// The pod of that name with its namespace's labels, as they are now; nothing if there is none.
    ///
    /// # Errors
    /// [`ApiError`]: nobody can tell.
    pub async fn find(&self, name: &PodName) -> Result<Option<PodEntry>, ApiError> {
        let (namespace, name) = (name.namespace(), name.name());
        let pod = self.get::<WrittenPod>(
            Resource::Pods,
            format!("/api/v1/namespaces/{namespace}/pods/{name}"),
            "application/json",
        );
        let namespace = self.get::<WrittenNamespace>(
            Resource::Namespaces,
            format!("/api/v1/namespaces/{namespace}"),
            "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
        );
        let (pod, namespace) = futures::try_join!(pod, namespace)?;
        let (Some(pod), Some(namespace)) = (pod, namespace) else {
            return Ok(None);
        };
        // A pod that the server has, but that we cannot look after, is as good as none; the watch tells of it in the log.
        let known = KnownPod::try_from(pod).ok();
        Ok(known.map(|known| PodEntry {
            pod: known.pod,
            namespace_labels: namespace.into_labels(),
        }))
    }

    async fn get<T: for<'a> serde::Deserialize<'a>>(
        &self,
        resource: Resource,
        path: String,
        accept: &str,
    ) -> Result<Option<T>, ApiError> {
        let action = Action::new(Verb::Get, resource);
        let request = Request::get(path).header(ACCEPT, accept).body(Vec::new());
        match self.server.ask(action, action.made(request)?).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl FindPod for PodFinder {
    fn find(&self, name: PodName) -> BoxFuture<'_, Result<Option<PodEntry>, SourceError>> {
        Box::pin(async move { Ok(Self::find(self, &name).await?) })
    }
}
