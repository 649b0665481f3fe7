//! shellcheck over every shell script in the tree.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::setup::System;
use crate::steps::Outcome;
use crate::{process, workspace};

pub(super) fn check(system: &System) -> Result<Outcome> {
    system.require_program("shellcheck", "shellcheck")?;
    let mut shellcheck = Command::new("shellcheck");
    shellcheck.current_dir(workspace::root()?);
    for file in workspace::files()? {
        if workspace::text(&file)?.is_some_and(|text| is_shell(&file, &text)) {
            shellcheck.arg(file);
        }
    }
    process::run(&mut shellcheck)?;
    Ok(Outcome::Passed)
}

/// A script is known by its name, or by the interpreter on its first line.
fn is_shell(file: &Path, text: &str) -> bool {
    let interpreter = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("#!"))
        .unwrap_or_default();
    let mut words = interpreter
        .split_whitespace()
        .map(|word| word.rsplit('/').next().unwrap_or(word));
    let interpreter = words
        .next()
        .filter(|word| *word != "env")
        .or_else(|| words.next());
    file.extension().is_some_and(|extension| extension == "sh")
        || matches!(interpreter, Some("sh" | "bash" | "dash"))
}

#[cfg(test)]
mod tests {
    use super::is_shell;
    use std::path::Path;

    #[test]
    fn scripts_are_known_by_name_or_first_line() {
        for (name, text, expected) in [
            ("x", "#!/bin/sh\nset -eu\n", true),
            ("run", "#!/usr/bin/env bash\n", true),
            ("init.sh", "set -eu\n", true),
            ("tool", "#!/usr/bin/env python3\n", false),
            ("tool", "#!/usr/bin/python3\n", false),
            ("README.md", "Type `./x`\n", false),
            ("empty", "", false),
        ] {
            assert_eq!(is_shell(Path::new(name), text), expected, "{name} {text:?}");
        }
    }
}
