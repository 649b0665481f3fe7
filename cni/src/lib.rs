//! The chained CNI plugin `weir-cni`: asks the node's agent whether a new pod is in the mesh, and lets the pod start
//! when its connections are captured. `docs/cni-plugin.md` is the contract with runtimes and operators.
#![forbid(unsafe_code)]

pub mod call;
pub mod client;
pub mod config;
pub mod failure;
pub mod last_word;
pub mod plugin;
pub mod protocol;
pub mod version;
