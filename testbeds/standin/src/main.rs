//! Stand-in proxy.
#![forbid(unsafe_code)]
fn main() {}
