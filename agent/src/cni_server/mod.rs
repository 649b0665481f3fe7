//! The agent's end of the CNI plugin: pods are in the mesh before their first container starts, or do not start.
//! `docs/cni-plugin.md` is the contract with runtimes and operators.
#![forbid(unsafe_code)]

mod desk;
mod find;
mod last_word;
mod line;
mod question;
mod server;
mod tally;

pub use server::serve;
pub use tally::{CniTally, Command, Outcome, Tally};
