//! Running other programs.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Error, Result, ensure};

/// Runs a command with our own output, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", line(command)))?;
    ensure!(status.success(), "{} failed ({status})", line(command));
    Ok(())
}

/// The exit code of a program that has said itself what is wrong.
#[derive(Debug)]
pub(crate) struct Exited(pub(crate) u8);

impl std::error::Error for Exited {}

impl std::fmt::Display for Exited {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "exit code {}", self.0)
    }
}

/// Becomes the command, so that signals and the exit code are its own; returns only if it cannot be started.
pub(crate) fn become_it(command: &mut Command) -> Result<Infallible> {
    let error = command.exec();
    Err(Error::new(error).context(format!("starting {}", line(command))))
}

/// Whether a program is on PATH.
pub(crate) fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// The command as one would type it, without the directory of the program.
fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::{line, run};
    use std::process::Command;

    #[test]
    fn a_command_reads_as_one_would_type_it() {
        assert_eq!(
            line(Command::new("/usr/bin/cargo").args(["build", "--bins"])),
            "cargo build --bins"
        );
    }

    #[test]
    fn a_failure_names_the_command() {
        assert_eq!(
            run(&mut Command::new("false")).unwrap_err().to_string(),
            "false failed (exit status: 1)"
        );
        assert!(
            run(&mut Command::new("weir-no-such-program"))
                .unwrap_err()
                .to_string()
                .contains("weir-no-such")
        );
    }
}
