//! The lives of agents, proxies, pods and connections, and how each outlives the others.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails where it stands"
)]

mod addresses;
mod churn;
mod layouts;
mod places;
mod proxies;
mod removal;
mod restart;
mod support;
