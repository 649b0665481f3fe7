//! Puts the CNI plugin into the node's chain of plugins, and keeps it there.
//!
//! The chain gets a file of its own, a copy of the primary CNI's with `weir-cni` behind it, and a name that runtimes
//! take first. It outlives reboots and whatever the primary CNI does to its own file, so that no pod starts past it.
#![forbid(unsafe_code)]

mod chain;
mod config;
mod directory;
mod error;
mod installer;
mod plan;
mod remove;
mod replace;
#[cfg(test)]
mod tests;
mod watch;

pub use config::InstallConfig;
pub use error::ConfError;
pub use installer::{Installer, keep, note_missing};
pub use remove::{RemovedFiles, remove};

/// The plugin's file, and its `type` in the chain.
pub const PLUGIN: &str = "weir-cni";

/// The chain's file. Runtimes take the first by name, and `-` comes before all digits.
pub const CONFLIST: &str = "0-weir.conflist";
