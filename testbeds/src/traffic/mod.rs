//! Small servers and clients that report the addresses and bytes they saw.

pub mod client;
pub mod dns;
pub mod failure;
mod load;
pub mod server;
mod socket;

pub use client::{Bulk, Client, ClientSpec, Connection, Exchange};
pub use failure::{Cause, Failure, Step};
pub use load::Load;
pub use server::{Accepted, Server, ServerReport, ServerSpec};
