//! Which CNI plugin connected a pod: what is configured, what the interfaces look like, and what follows from both.

mod config;
mod directory;
mod identity;
mod pattern;
mod table;

pub use config::{ConfigError, Network, Plugin, parse};
pub use directory::{Configuration, read};
pub use identity::{Clue, Confidence, Identity, identify};
pub use pattern::Pattern;
pub use table::{Cni, Signature, TABLE, Tried};
