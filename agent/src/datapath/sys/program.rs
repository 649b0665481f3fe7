//! Programs: loading, running on a made-up packet, asking what is attached.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::attr::{self, address, address_mut, bpf, bpf_fd, length, raw};
use super::{AttachType, Insn, LoadError, ProgramType, SysError, Target};

/// Enough for a probe or a hand-written test; longer logs are cut.
const LOG_SIZE: usize = 64 * 1024;

/// A program to load.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSpec<'a> {
    /// Its type.
    pub kind: ProgramType,
    /// Where it will be attached, for the types that must say so when they are loaded.
    pub attach: Option<AttachType>,
    /// What it does.
    pub insns: &'a [Insn],
    /// Some helpers are for GPL-compatible programs only.
    pub license: &'a CStr,
    /// At most 15 letters, digits and underscores.
    pub name: &'a str,
}

/// Loads a program.
///
/// # Errors
/// [`LoadError`] with the verifier's log, if the verifier was asked at all.
pub fn prog_load(spec: &ProgramSpec<'_>) -> Result<OwnedFd, LoadError> {
    // Without a log first: the kernel is quicker, and a log that overflows would hide the real error.
    load(spec, &mut []).map_err(|error| {
        let mut log = vec![0; LOG_SIZE];
        // Only the log of the second attempt is wanted; its error is the first one's, or that of the log.
        drop(load(spec, &mut log));
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        LoadError {
            error,
            log: String::from_utf8_lossy(&log[..end]).trim_end().to_owned(),
        }
    })
}

fn load(spec: &ProgramSpec<'_>, log: &mut [u8]) -> Result<OwnedFd, SysError> {
    let mut attr = attr::ProgLoad {
        prog_type: spec.kind.0,
        insn_cnt: length(spec.insns),
        insns: address(spec.insns),
        license: address(spec.license.to_bytes_with_nul()),
        log_level: u32::from(!log.is_empty()),
        log_size: length(log),
        log_buf: if log.is_empty() { 0 } else { address_mut(log) },
        prog_name: attr::name_bytes(spec.name),
        expected_attach_type: spec.attach.map_or(0, |attach| attach.0),
        ..Default::default()
    };
    // SAFETY: instructions, licence and log outlive the call, and their lengths are given or zero-terminated.
    unsafe { bpf_fd(&mut attr, || format!("program {} ({})", spec.name, spec.kind)) }
}

/// What to run a program on.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestInput<'a> {
    /// The packet, from its Ethernet header on.
    pub packet: &'a [u8],
    /// The context (`struct __sk_buff`), or nothing for the kernel's default.
    pub context: &'a [u8],
    /// How often to run; 0 is once.
    pub repeat: u32,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// What the program returned.
    pub verdict: u32,
    /// The packet afterwards.
    pub packet: Vec<u8>,
    /// The context afterwards, as long as the kernel's is; empty if none was given.
    pub context: Vec<u8>,
    /// Mean time of a run in nanoseconds.
    pub nanoseconds: u32,
}

/// Runs a program on a packet. The kernel supports this for `sched_cls`, not for socket hooks.
///
/// # Errors
/// [`SysError`] with `ENOSPC` when the packet grew by more than 256 bytes.
pub fn prog_test_run(program: BorrowedFd<'_>, input: &TestInput<'_>) -> Result<TestRun, SysError> {
    const ROOM_TO_GROW: usize = 256;
    let mut packet = vec![0; input.packet.len() + ROOM_TO_GROW];
    // The kernel writes back its whole context, however little of it was given.
    let context_room = if input.context.is_empty() {
        0
    } else {
        input.context.len() + ROOM_TO_GROW
    };
    let mut context = vec![0; context_room];
    let mut attr = attr::ProgTestRun {
        prog_fd: raw(program.as_raw_fd()),
        data_size_in: length(input.packet),
        data_size_out: length(&packet),
        data_in: address(input.packet),
        data_out: address_mut(&mut packet),
        repeat: input.repeat,
        ctx_size_in: length(input.context),
        ctx_size_out: length(&context),
        ctx_in: if input.context.is_empty() {
            0
        } else {
            address(input.context)
        },
        ctx_out: if context.is_empty() {
            0
        } else {
            address_mut(&mut context)
        },
        ..Default::default()
    };
    // SAFETY: the four buffers outlive the call, and their lengths are given.
    unsafe {
        bpf(&mut attr, || {
            format!("program, descriptor {}", program.as_raw_fd())
        })
    }?;
    packet.truncate(attr.data_size_out as usize);
    context.truncate(attr.ctx_size_out as usize);
    Ok(TestRun {
        verdict: attr.retval,
        packet,
        context,
        nanoseconds: attr.duration,
    })
}

/// What is attached at one hook of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// The programs, in the order in which they run.
    pub programs: Vec<u32>,
    /// How the first was attached (`BPF_F_ALLOW_…`), for cgroups.
    pub flags: u32,
}

/// The programs attached to `target` itself.
///
/// # Errors
/// [`SysError`] when the target has no such hook.
pub fn prog_query(target: Target<'_>, attach: AttachType) -> Result<Attached, SysError> {
    query(target, attach, 0)
}

/// The programs that run for `cgroup`: its own and its ancestors'.
///
/// # Errors
/// [`SysError`] when the cgroup has no such hook.
pub fn prog_query_effective(cgroup: BorrowedFd<'_>, attach: AttachType) -> Result<Attached, SysError> {
    const QUERY_EFFECTIVE: u32 = 1;
    query(Target::Fd(cgroup), attach, QUERY_EFFECTIVE)
}

fn query(target: Target<'_>, attach: AttachType, query_flags: u32) -> Result<Attached, SysError> {
    // The kernel allows 64 per cgroup and hook, and as many per interface and direction.
    let mut programs = vec![0_u32; 64];
    loop {
        let mut attr = attr::ProgQuery {
            target: target.raw(),
            attach_type: attach.0,
            query_flags,
            prog_ids: address_mut(&mut programs),
            prog_cnt: length(&programs),
            ..Default::default()
        };
        // SAFETY: the buffer outlives the call and holds as many ids as are announced.
        let result = unsafe { bpf(&mut attr, || format!("{attach} at {target}")) };
        match result {
            Ok(_) => {
                programs.truncate(attr.prog_cnt as usize);
                return Ok(Attached {
                    programs,
                    flags: attr.attach_flags,
                });
            }
            // With the ancestors' there can be more; the kernel then says how many.
            Err(error) if error.errno() == Some(libc::ENOSPC) && programs.len() < 4096 => {
                programs.resize(programs.len() * 2, 0);
            }
            Err(error) => return Err(error),
        }
    }
}
