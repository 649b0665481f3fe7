//! The node agent and operator CLI of Weir.
#![deny(unsafe_code)]

pub mod cgroups;
pub mod check;
pub mod datapath;
pub mod enroll;
pub mod inside;
pub mod pods;
pub mod run;
pub mod zds;
