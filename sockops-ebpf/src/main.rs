//! Weir's programs at the cgroup socket hooks.
#![no_std]
#![no_main]

mod bind;
mod connect;
mod device;
mod dns;
mod listener;
mod probe;
mod track;
mod ztunnel;

weir_ebpf_shared::object!();
