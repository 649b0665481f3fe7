//! The running agent: what it was told, what it tends, and how it says so.

pub mod agent;
pub mod backoff;
mod claims;
pub mod config;
pub mod node;
mod orphans;
pub mod registry;
mod release;
mod tend;
mod tender;
mod ztunnels;
