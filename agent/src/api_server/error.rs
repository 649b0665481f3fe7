//! What can go wrong with the server.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::action::Action;

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A role is missing.
    #[error(
        "the API server forbids the agent to {action}: {message}; allow verb {} on resource {} in the agent's ClusterRole", action.verb, action.resource
    )]
    Forbidden {
        /// What was asked.
        action: Action,
        /// The server's words.
        message: String,
    },
    /// It does not know us.
    #[error(
        "the API server does not accept the agent's credentials (to {action}): {message}; is the service account's token mounted and valid, and is the node's clock right?"
    )]
    Unauthorized {
        /// What was asked.
        action: Action,
        /// The server's words.
        message: String,
    },
    /// The object is not there.
    #[error("nothing to {action}: {message}")]
    NotFound {
        /// What was asked.
        action: Action,
        /// The server's words.
        message: String,
    },
    /// The version to go on from is too old.
    #[error("the API server has forgotten where to {action} from: {message}")]
    Expired {
        /// What was asked.
        action: Action,
        /// The server's words.
        message: String,
    },
    /// Some other refusal.
    #[error("the API server answered {code} when asked to {action}: {message}")]
    Refused {
        /// What was asked.
        action: Action,
        /// The HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// No connection.
    #[error("the API server cannot be reached to {action}: {}", Causes(.source))]
    Unreachable {
        /// What was asked.
        action: Action,
        /// Why.
        source: kube::Error,
    },
    /// No answer in time.
    #[error("the API server did not answer within {after:?} when asked to {action}")]
    Late {
        /// What was asked.
        action: Action,
        /// How long it had.
        after: Duration,
    },
    /// The answer broke off.
    #[error("the API server's answer broke off when asked to {action}: {message}")]
    Broken {
        /// What was asked.
        action: Action,
        /// Where.
        message: String,
    },
    /// The answer makes no sense.
    #[error(
        "the API server's answer to {action} cannot be read: {source}; is it an API server that listens there?"
    )]
    Garbage {
        /// What was asked.
        action: Action,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The answer has no end.
    #[error("the API server's answer to {action} is longer than {most} bytes")]
    TooLong {
        /// What was asked.
        action: Action,
        /// The bound.
        most: usize,
    },
}

impl ApiError {
    /// From an answer that is no success.
    #[must_use]
    pub fn from_answer(action: Action, code: u16, message: String) -> Self {
        match code {
            401 => Self::Unauthorized { action, message },
            403 => Self::Forbidden { action, message },
            404 => Self::NotFound { action, message },
            410 => Self::Expired { action, message },
            code => Self::Refused {
                action,
                code,
                message,
            },
        }
    }

    /// Whether asking the same again cannot help, because of what was asked.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

/// Why nobody can even be asked.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file with the server's address and our credentials is of no use.
    #[error("kubeconfig {}: {}; name a file as kubectl reads it", path.display(), Causes(.source))]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: kube::config::KubeconfigError,
    },
    /// There is no service account.
    #[error(
        "no API server is known: {}; run in a pod with a service account, or name a file with --kubeconfig", Causes(.source)
    )]
    Cluster {
        /// What is missing.
        source: kube::config::InClusterError,
    },
    /// Certificates or keys are of no use.
    #[error("the API server's address, certificates or credentials cannot be used: {}", Causes(.source))]
    Client {
        /// Why.
        source: kube::Error,
    },
}

/// An error with all its causes: the first alone often says no more than "error trying to connect".
struct Causes<'a, E>(&'a E);

impl<E: Error + 'static> fmt::Display for Causes<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many an error repeats its cause.
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            cause = error.source();
        }
        Ok(())
    }
}
