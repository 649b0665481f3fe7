//! The name of the node.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::pods::pod::PodName;

/// A node's name, safe to be part of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NodeName(String);

/// The text is no name of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no node's name: give the pod's spec.nodeName, as the downward API puts it into NODE_NAME"
)]
pub struct NodeNameError {
    text: String,
}

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;

    fn from_str(text: &str) -> Result<Self, NodeNameError> {
        // The rules are those of a pod's name.
        match PodName::new("default", text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(NodeNameError {
                text: text.to_owned(),
            }),
        }
    }
}

impl TryFrom<String> for NodeName {
    type Error = NodeNameError;

    fn try_from(text: String) -> Result<Self, NodeNameError> {
        text.parse()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
