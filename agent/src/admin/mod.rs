//! The operator's socket: HTTP over a Unix socket that only root can open.

pub mod client;
mod routes;
mod server;

pub use server::AdminServer;
