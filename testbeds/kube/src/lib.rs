//! Real Kubernetes for tests.
//!
//! [`ControlPlane`] is an etcd and an API server of a test's own on loopback, with nothing else: no scheduler puts pods on
//! nodes, no kubelet runs them, no controller tidies up. Tests make pods with a node's name, and write their status.
//!
//! The programs come from `KUBEBUILDER_ASSETS`, or from where `./x kube programs` puts what it builds from Debian's
//! source package. With `WEIR_TEST_KUBECONFIG` a cluster that runs already is used, see [`Place`]; tests make namespaces of
//! their own in it.
#![forbid(unsafe_code)]

pub mod cluster;
pub mod control_plane;
mod directory;
pub mod objects;
mod place;
pub mod programs;
mod relay;

pub use cluster::Cluster;
pub use control_plane::ControlPlane;
pub use place::Place;
pub use relay::Relay;
