//! Weir's programs between pods and a ztunnel that has a netns of its own (node contract).
//!
//! A connection is decided when it begins, and what was decided is remembered: exemptions, connections from before the
//! enrolment, and those of a ztunnel that has been replaced since, go on as they began.
#![no_std]
#![no_main]

mod flow;
mod hand_over;
mod inbound;
mod known;
mod listeners;
mod maps;
mod near;
mod outbound;
mod pod_in;
mod pod_out;
mod probe;
mod recent;
mod steer_back;
mod steer_fence;
mod steer_in;
mod steer_out;
mod ztunnel_gate;
mod ztunnel_in;
mod ztunnel_out;

weir_ebpf_shared::object!();
// For the programs at a pod's own interface: `steer_in` and `steer_out`.
weir_ebpf_shared::instance!();
