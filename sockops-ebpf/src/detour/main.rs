//! The socket path of the node contract, for pods whose packets pass no interface of the host: connections are turned
//! to ztunnel's address, and ztunnel is told where they were going.
//!
//! At the cgroup of the pods: `detour`, `departure`, `shown`. At ztunnel's own: `arrival`, `original`, `source`.
#![no_std]
#![no_main]

mod arrival;
mod departure;
mod detour;
mod maps;
mod original;
mod shown;
mod source;

weir_ebpf_shared::object!();
