//! Making a map or a program just to see whether the kernel takes it.

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use crate::check::Outcome;
use crate::datapath::refusal::conclusion;
use crate::datapath::sys::{
    AttachType, Insn, LoadError, MapSpec, MapType, ProgramSpec, ProgramType, Register, SysError, map_create,
    prog_load,
};

/// Name of everything that is made here.
const NAME: &str = "weir_check";

/// A map of a type, as small as it gets.
pub fn map(kind: MapType) -> Result<OwnedFd, Outcome> {
    // 65536 is a power of two and a multiple of every page size; socket storage has no size.
    let (key_size, value_size, max_entries) = match kind {
        MapType::RINGBUF => (0, 0, 65536),
        MapType::SK_STORAGE => (4, 4, 0),
        MapType::SOCKMAP => (4, 4, 1),
        _ => (8, 8, 1),
    };
    let spec = MapSpec {
        kind,
        key_size,
        value_size,
        max_entries,
        name: NAME,
    };
    map_create(&spec).map_err(|error| refused(&error))
}

/// A program of these instructions.
pub fn program(kind: ProgramType, attach: Option<AttachType>, insns: &[Insn]) -> Result<OwnedFd, Outcome> {
    prog_load(&ProgramSpec {
        kind,
        attach,
        insns,
        license: c"GPL",
        name: NAME,
    })
    .map_err(|error| not_loaded(&error))
}

/// A program that only returns.
pub fn program_that_returns(
    kind: ProgramType,
    attach: Option<AttachType>,
    value: i32,
) -> Result<OwnedFd, Outcome> {
    program(kind, attach, &[Insn::set(Register::R0, value), Insn::exit()])
}

/// Done, or why not.
pub fn result<T>(tried: Result<T, Outcome>) -> Outcome {
    tried.err().unwrap_or_else(|| Outcome::ok(""))
}

/// What a refused call means.
pub fn refused(error: &SysError) -> Outcome {
    let why = format!("{}: {}", error.call, words(&error.source));
    if error.is_denied() {
        Outcome::denied(why)
    } else {
        Outcome::missing(why)
    }
}

/// What a refused file operation means.
pub fn refused_io(what: &str, error: &io::Error) -> Outcome {
    let why = format!("{what}: {}", words(error));
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Outcome::denied(why),
        _ => Outcome::missing(why),
    }
}

fn not_loaded(refusal: &LoadError) -> Outcome {
    match conclusion(&refusal.log) {
        Some(line) if !refusal.error.is_denied() => Outcome::missing(line),
        // Not the verifier's EACCES, then, but that of a security module.
        None if refusal.error.errno() == Some(libc::EACCES) => Outcome::denied(format!(
            "{}: {}",
            refusal.error.call,
            words(&refusal.error.source)
        )),
        _ => refused(&refusal.error),
    }
}

/// The error in words, without its number.
fn words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(
        || error.to_string(),
        |number| Errno::from_raw(number).desc().to_owned(),
    )
}
