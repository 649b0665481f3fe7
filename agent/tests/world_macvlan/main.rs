//! Pods on macvlan and a ztunnel with a netns of its own: connections that are turned to ztunnel's address (`detour`),
//! and frames that are steered to its interface (`steer`).
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod detour;
mod forged;
mod limits;
mod scene;
mod steer;
