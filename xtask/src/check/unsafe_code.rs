//! Where `unsafe` may stand. The compiler enforces it per crate; this sees that no crate forgot to ask.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::steps::Outcome;
use crate::workspace;

/// Where it may stand, and why.
const ALLOWED: &[&str] = &[
    // bpf(2) and its kin have no safe wrapper.
    "agent/src/datapath/sys",
    // Programs read their context through pointers that the verifier checks.
    "ebpf-shared/src/",
    "sockops-ebpf/src/",
    "tc-ebpf/src/",
    // Declares the shared structs to be plain bytes.
    "common/src/lib.rs",
];

pub(super) fn check() -> Result<Outcome> {
    let mut found = Vec::new();
    for file in workspace::files()?.iter().filter(|file| may_not(file)) {
        let text = workspace::text(file)?.unwrap_or_default();
        found.extend(lines_with_unsafe(&text).map(|line| format!("{}:{line}", file.display())));
    }
    ensure!(
        found.is_empty(),
        "unsafe code where it may not stand: {}",
        found.join(", ")
    );
    Ok(Outcome::Passed)
}

fn may_not(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
        && !ALLOWED
            .iter()
            .any(|allowed| file.to_string_lossy().starts_with(allowed))
}

/// The numbers of the lines that open something unsafe, comments and strings apart.
fn lines_with_unsafe(text: &str) -> impl Iterator<Item = usize> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| opens_unsafe(line))
        .map(|(number, _)| number)
}

fn opens_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let mut outside_strings = code.split('"').step_by(2);
    outside_strings.any(|code| {
        code.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe")
    })
}

#[cfg(test)]
mod tests {
    use super::{lines_with_unsafe, may_not};
    use std::path::Path;

    #[test]
    fn code_is_found_and_talk_about_it_is_not() {
        let text = "#![forbid(unsafe_code)]\n// unsafe { }\nlet x = unsafe { f() };\nsay(\"unsafe\");\nunsafe impl Pod for X {}\n";
        assert_eq!(lines_with_unsafe(text).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn one_module_of_the_agent_may_and_its_neighbours_may_not() {
        for (file, expected) in [
            ("agent/src/datapath/sys.rs", false),
            ("agent/src/datapath/sys/link.rs", false),
            ("agent/src/datapath/object.rs", true),
            ("tc-ebpf/src/guard.rs", false),
            ("testbeds/src/lib.rs", true),
            ("README.md", false),
        ] {
            assert_eq!(may_not(Path::new(file)), expected, "{file}");
        }
    }
}
