//! Pods that a container runtime starts and ends with the CNI plugin in its chain, against the real agent.
#![expect(clippy::unwrap_used, reason = "tests")]

mod clock;
mod disk;
mod ends;
mod guard;
mod install;
mod processes;
mod starts;
mod support;
