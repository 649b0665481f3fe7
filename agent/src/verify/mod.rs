//! Proves, pod by pod, that redirection works: what the kernel holds is compared with what it should, and a connection
//! is made that only ztunnel can have accepted. What enrolment can mend is mended.

mod active;
mod check;
mod facts;
mod look;
pub mod pinned;
mod redirected;
mod round;

pub use check::{Check, Problem};
pub use facts::{NodeFacts, PodFacts, Wanted, problems};
pub use round::{pods, regularly, report};
