//! Joins a cgroup, then acts on request or becomes another program; ends with the process that started it.
//!
//! `weir-actor <parent's id> <cgroup directory or ""> act` or `… exec <program> [arguments]`
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use weir_testbeds::actor::stage::Stage;

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-actor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let mut next = || arguments.next().ok_or_else(usage);
    let (parent, cgroup, mode) = (next()?, next()?, next()?);
    die_with(&parent)?;
    if !cgroup.is_empty() {
        // "0" is the writer itself.
        std::fs::write(Path::new(&cgroup).join("cgroup.procs"), "0")?;
    }
    match mode.to_str() {
        Some("act") => Stage::default().play(io::stdin().lock(), io::stdout().lock()),
        Some("exec") => {
            let program = next()?;
            Err(Command::new(program).args(arguments).exec())
        }
        _ => Err(usage()),
    }
}

fn die_with(parent: &OsString) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have ended before the signal was asked for.
    if *parent == *getppid().to_string() {
        Ok(())
    } else {
        Err(io::Error::other("its parent has ended"))
    }
}

fn usage() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "usage: weir-actor PARENT CGROUP act|exec PROGRAM [ARGUMENT]…",
    )
}
