//! How deep a cgroup really is. Where a container plays the node (kind, k3d, minikube with Docker), the root of the
//! hierarchy that can be seen is itself some levels deep, and programs count from the real one.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::datapath::sys::{
    Insn, LoadError, ProgramSpec, ProgramType, Register, SysError, TestInput, prog_load, prog_test_run,
};

/// The kernel allows no deeper ones by far; each is asked for until the right one is met.
const DEEPEST: u8 = 64;
/// `mark` in `struct __sk_buff`, and the part of it that tests may set.
const MARK: usize = 8;
const CONTEXT: usize = 192;
/// `bpf_skb_ancestor_cgroup_id`.
const ANCESTOR: i32 = 83;
/// An Ethernet header and a little more.
const PACKET: [u8; 64] = [0; 64];

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum DepthError {
    /// The directory cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The program that asks cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It cannot be run.
    #[error(transparent)]
    Run(#[from] SysError),
    /// This process is elsewhere.
    #[error("this process does not live below {0}")]
    Elsewhere(String),
}

/// The real depth of the cgroup at `path`, of which this process has to be a descendant: 0 for the real root. The kernel
/// makes the socket of a program's trial run one of the process that asks for it.
///
/// # Errors
/// [`DepthError`].
pub fn of(path: &Path) -> Result<u32, DepthError> {
    let metadata = fs::metadata(path).map_err(|source| DepthError::Io {
        path: path.display().to_string(),
        source,
    })?;
    let program = prog_load(&ProgramSpec {
        kind: ProgramType::SCHED_CLS,
        attach: None,
        insns: &[
            Insn::load32(Register::R2, Register::R1, 8),
            Insn::call(ANCESTOR),
            Insn::exit(),
        ],
        license: c"Dual MIT/GPL",
        name: "weir_depth",
    })?;
    for level in 0..DEEPEST {
        let mut context = [0; CONTEXT];
        context[MARK..MARK + 4].copy_from_slice(&u32::from(level).to_ne_bytes());
        let input = TestInput {
            packet: &PACKET,
            context: &context,
            repeat: 0,
        };
        let run = prog_test_run(program.as_fd(), &input)?;
        // What a program returns is half of the number; ids of cgroups that live at the same time differ in this one.
        if u64::from(run.verdict) == metadata.ino() & u64::from(u32::MAX) {
            return Ok(level.into());
        }
    }
    Err(DepthError::Elsewhere(path.display().to_string()))
}
