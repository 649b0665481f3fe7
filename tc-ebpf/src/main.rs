//! Weir's programs at the interfaces inside a pod's netns.
#![no_std]
#![no_main]

mod guard;
mod virtual_interface;

weir_ebpf_shared::object!();
weir_ebpf_shared::instance!();
