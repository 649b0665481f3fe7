//! The binary `weir`.
#![forbid(unsafe_code)]

fn main() {}
