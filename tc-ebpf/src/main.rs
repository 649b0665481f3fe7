//! Weir's programs at the traffic control hook.
#![no_std]
#![no_main]

mod guard;

weir_ebpf_shared::object!();
