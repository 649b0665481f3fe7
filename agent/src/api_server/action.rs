//! What is asked of the server, in the words of its access rules.

use std::fmt;

use hyper::Request;

use super::error::ApiError;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// One object is read.
    Get,
    /// All objects are read.
    List,
    /// Changes are followed.
    Watch,
    /// An object is changed.
    Patch,
    /// An object is made.
    Create,
}

/// What it is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Pods.
    Pods,
    /// The part of pods that others than their owners write.
    PodsStatus,
    /// Namespaces.
    Namespaces,
    /// Events.
    Events,
}

/// A verb and its object: what a role must allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// What is done.
    pub verb: Verb,
    /// With what.
    pub resource: Resource,
}

impl Action {
    /// Puts the two together.
    #[must_use]
    pub const fn new(verb: Verb, resource: Resource) -> Self {
        Self { verb, resource }
    }

    /// The request for it. It is made of checked names and encoded text, so that this cannot fail; if it does, the server
    /// is not to blame.
    ///
    /// # Errors
    /// [`ApiError::Broken`].
    pub fn made(
        self,
        request: Result<Request<Vec<u8>>, hyper::http::Error>,
    ) -> Result<Request<Vec<u8>>, ApiError> {
        request.map_err(|error| ApiError::Broken {
            action: self,
            message: error.to_string(),
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Patch => "patch",
            Self::Create => "create",
        })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pods => "pods",
            Self::PodsStatus => "pods/status",
            Self::Namespaces => "namespaces",
            Self::Events => "events.events.k8s.io",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}
