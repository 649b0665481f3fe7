//! The program that a container runtime calls, once for each pod that it starts or ends.
#![forbid(unsafe_code)]

use std::io::{self, Read as _, Write as _};
use std::panic::catch_unwind;
use std::process::ExitCode;

use weir_cni::failure::{Code, Failure};
use weir_cni::plugin::{self, Outcome};
use weir_cni::{config, version};

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
    let written = io::stdout().write_all(outcome.output.as_bytes());
    match written {
        Ok(()) => outcome.exit.into(),
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> Outcome {
    let mut input = Vec::new();
    let read = io::stdin().take(config::LARGEST + 1).read_to_end(&mut input);
    match read {
        Ok(_) => plugin::run(&|name| std::env::var_os(name), &input),
        Err(error) => {
            let unread = Failure::new(Code::Io, "the network configuration cannot be read from stdin");
            Outcome::failed(version::NEWEST, &unread.because(error))
        }
    }
}

fn bug() -> Failure {
    Failure::new(Code::Internal, "weir-cni came upon a mistake of its own")
        .because("stderr, in the runtime's log, says where")
}
