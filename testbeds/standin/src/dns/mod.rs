//! DNS capture: the questions that a pod's applications ask.

pub mod message;
pub mod server;
pub mod zone;
