//! The Kubernetes API server, as far as the agent speaks to it.
//!
//! `kube` finds the server, proves who we are and carries requests. Objects are decoded here, into shapes that hold only
//! what Weir looks at: a pod's full description is many times larger, and changes with every release of Kubernetes.
#![forbid(unsafe_code)]

mod action;
mod body;
mod client;
mod error;
mod pause;
mod server;

pub use action::{Action, Resource, Verb};
pub use body::Lines;
pub use error::{ApiError, OpenError};
pub use pause::Pause;
pub use server::{ApiServer, Patience};
