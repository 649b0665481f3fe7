//! The node agent and operator CLI of Weir.
#![deny(unsafe_code)]

pub mod admin;
pub mod api;
pub mod api_server;
mod burst;
pub mod cgroups;
pub mod check;
pub mod cleanup;
pub mod cni_conf;
pub mod cni_server;
pub mod container;
pub mod datapath;
pub mod enroll;
pub mod http;
pub mod inside;
pub mod metrics;
pub mod pods;
mod polled;
pub mod probes;
pub mod report;
pub mod run;
pub mod socket_file;
pub mod status;
pub mod trace;
pub mod verify;
pub mod wiring;
pub mod zds;
