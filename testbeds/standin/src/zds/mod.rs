//! ZDS: how the node agent hands pods over to the proxy.

pub mod channel;
pub mod pods;
pub mod session;
pub mod snapshot;
pub mod wire;
