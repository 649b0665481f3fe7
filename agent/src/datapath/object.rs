//! The eBPF objects, built with the agent and embedded in it.

/// Programs for the socket hooks.
pub static SOCKOPS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-sockops"));
/// Programs for the traffic control hook.
pub static TC: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-tc"));
