//! The in-pod contract: ztunnel connects here, is told of every enrolled pod and is handed its network namespace.
#![forbid(unsafe_code)]

mod accept;
mod acks;
mod connection;
mod door;
mod ledger;
mod limiter;
pub mod protocol;
mod results;
mod server;
mod session;
mod shared;
pub mod socket;
mod status;
mod workload;

pub use door::Doorkeeper;
pub use ledger::ConnectionId;
pub use results::{Acked, AddError, RemoveError, Removed};
pub use server::{ZdsConfig, ZdsServer};
pub use session::SessionError;
pub use status::{ConnectionState, ConnectionStatus, PodStatus, ZdsEvent, ZdsStatus};
pub use workload::Workload;
