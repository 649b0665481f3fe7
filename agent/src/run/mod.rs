//! The running agent: what it was told, what it tends, and how it says so.

pub mod agent;
pub mod alone;
pub mod backoff;
pub mod calls;
mod claims;
pub mod config;
pub mod health;
pub mod keeper;
mod lull;
pub mod node;
mod orphans;
pub mod registry;
mod release;
mod restock;
pub mod sandboxes;
mod source;
pub mod subjects;
mod tasks;
mod tend;
mod tender;
pub mod view;
pub mod zds_tally;
mod ztunnels;
