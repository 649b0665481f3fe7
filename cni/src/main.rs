//! The program that a container runtime calls, once for each pod that it starts or ends.
#![forbid(unsafe_code)]

use std::io;
use std::panic::catch_unwind;
use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;
use rustix::buffer::spare_capacity;
use rustix::io::{read, retry_on_intr, write};
use rustix::stdio::{stdin, stdout};
use weir_cni::failure::{Code, Failure};
use weir_cni::plugin::{self, Outcome};
use weir_cni::{config, version};

/// musl's asks the system five times before it has a byte to give, and gives room back that is wanted again in a moment.
#[global_allocator]
static MEMORY: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|flag| flag == "--version") {
        println!(
            "weir-cni {}, CNI {}",
            env!("CARGO_PKG_VERSION"),
            version::SUPPORTED.join(", ")
        );
        return ExitCode::SUCCESS;
    }
    // Whatever happens, a runtime reads an answer.
    let outcome = catch_unwind(run).unwrap_or_else(|_| Outcome::failed(version::NEWEST, &bug()));
    match say(outcome.output.as_bytes()) {
        Ok(()) => outcome.exit.into(),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Most configurations fit. The standard library's streams have buffers of their own, which a program that lives for a
/// moment has to get from the system each time.
const USUAL: usize = 2048;

fn run() -> Outcome {
    match listen() {
        Ok(input) => plugin::run(&|name| std::env::var_os(name), &input),
        Err(error) => {
            let unread = Failure::new(Code::Io, "the network configuration cannot be read from stdin");
            Outcome::failed(version::NEWEST, &unread.because(error))
        }
    }
}

/// What is said on stdin; no more than is too much.
fn listen() -> io::Result<Vec<u8>> {
    let mut said = Vec::with_capacity(USUAL);
    while said.len() as u64 <= config::LARGEST {
        said.reserve(1);
        if retry_on_intr(|| read(stdin(), spare_capacity(&mut said)))? == 0 {
            break;
        }
    }
    Ok(said)
}

fn say(mut answer: &[u8]) -> io::Result<()> {
    while !answer.is_empty() {
        match retry_on_intr(|| write(stdout(), answer))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            said => answer = &answer[said..],
        }
    }
    Ok(())
}

fn bug() -> Failure {
    Failure::new(Code::Internal, "weir-cni came upon a mistake of its own")
        .because("stderr, in the runtime's log, says where")
}
