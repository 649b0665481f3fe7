//! What aya lacks of `bpf(2)`, three socket calls, one on namespaces, and settings of the allocator: the only unsafe
//! code of the user side.
//!
//! Everything here is safe to call. Sizes are checked before the kernel reads or writes a buffer, descriptors are
//! owned, and every error names the call and what it was about.
#![expect(unsafe_code, reason = "system calls; each block says why it is sound")]

mod attr;
mod error;
mod info;
mod insn;
mod kind;
mod link;
mod map;
mod memory;
mod namespace;
mod object;
mod program;
mod socket;

pub use error::{LoadError, SysError};
pub use info::{
    LinkInfo, LinkTarget, MapInfo, ProgramInfo, ProgramRuns, link_info, map_info, program_info, program_runs,
};
pub use insn::{Insn, Register};
pub use kind::{AttachType, MapType, ProgramType};
pub use link::{
    AFTER, ALLOW_MULTI, BEFORE, PREORDER, Target, link_create, link_detach, link_update, prog_attach,
};
pub use map::{MapError, MapSpec, RawMap, map_create};
pub use memory::{give_back, share_heaps};
pub use namespace::netns_id;
pub use object::{Objects, fd_by_id, obj_get, obj_pin, objects};
pub use program::{
    Attached, ProgramSpec, TestInput, TestRun, prog_load, prog_query, prog_query_effective, prog_test_run,
};
pub use socket::{netns_cookie, pidfd_getfd, pidfd_open};
