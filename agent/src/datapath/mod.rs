//! Everything that Weir keeps in the kernel.

pub mod object;
pub mod sys;
