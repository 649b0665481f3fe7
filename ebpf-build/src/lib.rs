//! Finds a Rust toolchain that can compile for the kernel, and builds Weir's eBPF crates with it.
//!
//! Two callers share it: the agent's build script, which needs the objects, and `xtask`, which installs what is
//! missing. Neither guesses on its own.
#![forbid(unsafe_code)]

mod build;
mod compiler;
mod job;
mod linker;
mod toolchain;

pub use build::{BuildError, build_objects};
pub use job::Job;
pub use linker::tools_dir;
pub use toolchain::{NotFound, Origin, TOOLCHAIN_VARIABLE, Toolchain};
