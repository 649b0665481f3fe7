//! Brings pods into the mesh and out of it: each step idempotent, each with its exact reverse.

pub mod addresses;
mod borrowed;
mod captured;
mod entries;
mod error;
pub mod filters;
pub mod interfaces;
pub mod listeners;
pub mod loopback;
pub mod netlink;
mod own;
mod pod;
pub mod redirect;
mod removal;
pub mod requests;
pub mod routing;
mod settle;
pub(crate) mod socket_table;
pub mod sysctls;
pub mod watch;
mod way;
mod wiring;

pub use error::EnrollError;
pub use pod::{Enrolled, Enroller};
pub use removal::{Removal, clear_namespace};
pub(crate) use settle::port_flags;
pub use way::Way;
pub use wiring::Told;
