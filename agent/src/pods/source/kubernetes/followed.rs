//! What is followed, and how it is asked for.

use hyper::Request;
use hyper::header::ACCEPT;

use super::node::NodeName;
use crate::api_server::{Patience, Resource};

/// Objects of one kind that are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// The pods of one node: the server sends no others.
    PodsOf(NodeName),
    /// All namespaces, their metadata only.
    Namespaces,
}

/// Where a list is to be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness<'a> {
    /// The server's memory, which is not asked to be newer than this version; `0` is any. Costs the cluster's store
    /// nothing, where a list of it would be one of all pods of the cluster.
    NotOlderThan(&'a str),
    /// The store, for when the server's memory is behind what we have seen of it.
    Newest,
}

/// Objects per page where the store is asked; the server's memory answers in one go.
const PAGE: usize = 500;

impl Followed {
    pub(super) const fn resource(&self) -> Resource {
        match self {
            Self::PodsOf(_) => Resource::Pods,
            Self::Namespaces => Resource::Namespaces,
        }
    }

    pub(super) fn list(
        &self,
        freshness: Freshness<'_>,
        rest: Option<&str>,
    ) -> Result<Request<Vec<u8>>, hyper::http::Error> {
        let mut query = match freshness {
            Freshness::NotOlderThan(version) => {
                format!("resourceVersion={version}&resourceVersionMatch=NotOlderThan")
            }
            Freshness::Newest => format!("limit={PAGE}"),
        };
        if let Some(rest) = rest {
            query = format!("limit={PAGE}&continue={}", encoded(rest));
        }
        self.request(&query, "PartialObjectMetadataList")
    }

    pub(super) fn watch(
        &self,
        version: &str,
        patience: &Patience,
    ) -> Result<Request<Vec<u8>>, hyper::http::Error> {
        let seconds = patience.watch.as_secs().max(1);
        let query = format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
            encoded(version)
        );
        self.request(&query, "PartialObjectMetadata")
    }

    fn request(&self, query: &str, metadata: &str) -> Result<Request<Vec<u8>>, hyper::http::Error> {
        match self {
            Self::PodsOf(node) => {
                let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}&{query}");
                Request::get(path).header(ACCEPT, "application/json")
            }
            Self::Namespaces => {
                let path = format!("/api/v1/namespaces?{query}");
                // A server that cannot leave the rest out may send it.
                let accept = format!("application/json;as={metadata};v=v1;g=meta.k8s.io,application/json");
                Request::get(path).header(ACCEPT, accept)
            }
        }
        .body(Vec::new())
    }
}

/// Percent-encodes what is no letter or digit.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
