//! The running agent: what it was told, what it tends, and how it says so.

pub mod backoff;
pub mod config;
pub mod node;
pub mod registry;
mod tend;
mod tender;
mod ztunnels;

pub use tend::Tending;
