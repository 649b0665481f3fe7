//! The script that a guest runs.

use std::path::Path;

/// The variables that a program in the guest sees as its caller does; cargo's own would lead it astray.
pub(super) fn environment() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| is_passed_on(name)).collect()
}

fn is_passed_on(name: &str) -> bool {
    matches!(name, "PATH" | "HOME" | "CARGO_HOME" | "RUSTUP_HOME")
        || ["WEIR_", "RUST_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Runs all commands in `directory`; the exit code is the last one that is not zero.
pub(super) fn script(directory: &Path, environment: &[(String, String)], commands: &[Vec<String>]) -> String {
    let mut text = format!("cd {} || exit\n", quoted(&directory.display().to_string()));
    for (name, value) in environment {
        text += &format!("export {name}={}\n", quoted(value));
    }
    text += "status=0\n";
    for command in commands {
        let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
        text += &format!("{} || status=$?\n", words.join(" "));
    }
    text + "exit $status\n"
}

/// One word to the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{is_passed_on, script};
    use std::path::Path;
    use std::process::Command;

    fn run(commands: &[&[&str]]) -> (Option<i32>, String) {
        let commands: Vec<Vec<String>> = commands
            .iter()
            .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
            .collect();
        let environment = [("WEIR_X".to_owned(), "it's $HOME".to_owned())];
        let text = script(Path::new("/"), &environment, &commands);
        let output = Command::new("sh").args(["-c", &text]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn words_and_variables_arrive_as_they_are() {
        let (code, text) = run(&[&["printf", "%s|", "a b", "it's", "$X"], &["printenv", "WEIR_X"]]);
        assert_eq!((code, text.as_str()), (Some(0), "a b|it's|$X|it's $HOME\n"));
    }

    #[test]
    fn a_failure_is_kept_and_the_rest_still_runs() {
        let (code, text) = run(&[&["sh", "-c", "exit 7"], &["pwd"]]);
        assert_eq!((code, text.as_str()), (Some(7), "/\n"));
    }

    #[test]
    fn what_cargo_sets_stays_outside() {
        assert!(is_passed_on("RUST_LOG") && is_passed_on("WEIR_ZTUNNEL") && is_passed_on("PATH"));
        assert!(!is_passed_on("CARGO_MANIFEST_DIR") && !is_passed_on("LD_LIBRARY_PATH"));
    }
}
