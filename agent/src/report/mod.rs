//! What the agent says in the cluster about its pods: the annotation `ambient.istio.io/redirection`, and events.
//!
//! One worker looks at what the agent knows of its pods and at what is written on them, and writes what differs. It is
//! never waited for: enrolment goes on whatever becomes of the API server. It asks for as little as can be: the annotation
//! is patched through `pods/status`, which cannot change what runs, and nothing is patched that reads right already.
//!
//! | written | when | role |
//! |---|---|---|
//! | `enabled` | the pod's connections are captured | `patch` `pods/status` |
//! | `pending` | the pod is meant to be in the mesh, and is still not there after some seconds | |
//! | nothing | the pod is not meant to be in the mesh | |
//! | an event | a pod stays out of the mesh, or is not redirected or not wholly captured; and when it is well again | `create` `events.events.k8s.io` |

mod annotation;
mod budget;
mod event;
mod lane;
mod pace;
mod plan;
mod tally;
mod worker;

pub use annotation::take_back;
pub use lane::Lane;
pub use tally::{ReportTally, Reports};
pub use worker::Reporter;
