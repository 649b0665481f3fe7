//! The node agent and operator CLI of Weir.
#![deny(unsafe_code)]

pub mod check;
pub mod datapath;
