//! Installs what a developer's machine lacks, or says how to.

mod ebpf;
mod kubernetes;
mod remedy;
mod system;
mod tools;

pub(crate) use ebpf::ebpf_toolchain;
pub(crate) use kubernetes::{API_SERVER, CLUSTER, kubernetes};
pub(crate) use system::System;
pub(crate) use tools::{CARGO_DENY, CARGO_FUZZ, TYPOS};
