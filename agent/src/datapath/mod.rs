//! Everything that Weir keeps in the kernel.

pub mod object;
