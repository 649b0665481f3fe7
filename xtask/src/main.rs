//! Developer commands behind `./x`.
#![forbid(unsafe_code)]

mod check;
mod commands;
mod deploy;
mod privilege;
mod process;
mod setup;
mod steps;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match commands::parse(&arguments) {
        Ok((command, rest)) => (command.run)(rest),
        Err(unknown) => Err(unknown),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref() {
            Some(process::Exited(code)) => ExitCode::from(*code),
            None => {
                eprintln!("x: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
