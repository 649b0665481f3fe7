//! What the program is told on stdin, however long it is and however it comes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What the program answers to a configuration that comes in pieces of this length.
fn answer(config: &str, piece: usize) -> String {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_weir-cni"))
        .env("CNI_COMMAND", "VERSION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = plugin.stdin.take().unwrap();
    for piece in config.as_bytes().chunks(piece) {
        stdin.write_all(piece).unwrap();
    }
    drop(stdin);
    String::from_utf8(plugin.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_configuration_of_any_length_is_read_to_its_end() {
    for length in [100, 4095, 4096, 4097, 8192, 100_000] {
        // The version is the last that is said.
        let (begin, end) = (r#"{"padding":""#, r#"","cniVersion":"0.4.0"}"#);
        let padding = "x".repeat(length - begin.len() - end.len());
        let config = format!("{begin}{padding}{end}");
        for piece in [1000, config.len()] {
            let answer = answer(&config, piece);
            assert!(
                answer.starts_with(r#"{"cniVersion":"0.4.0""#),
                "{length} in pieces of {piece}: {answer}"
            );
        }
    }
}

#[test]
fn without_end_it_is_not_read_for_ever() {
    let config = "x".repeat(weir_cni::config::LARGEST as usize + 1);
    assert!(answer(&config, config.len()).contains(r#""cniVersion":"1.1.0""#));
}
