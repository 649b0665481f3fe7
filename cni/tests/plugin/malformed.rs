//! Whatever a runtime, or whoever calls the plugin, says: the answer is a result or an error object, and never a crash.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::support::{Call, Scratch, error, run};
use serde_json::Value;
use weir_cni::client::AskError;
use weir_cni::plugin::{Outcome, run_with};
use weir_cni::protocol::{self, Answer};
use weir_cni::version;

/// As many as fit into a second or two.
const ROUNDS: u32 = 30_000;

/// Numbers that look random and are the same in each run.
struct Numbers(Cell<u64>);

impl Numbers {
    fn below(&self, bound: usize) -> usize {
        // xorshift64
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        (x % bound.max(1) as u64) as usize
    }
}

fn spoil(text: &mut Vec<u8>, numbers: &Numbers) {
    const PIECES: [&[u8]; 12] = [
        b"null",
        b"{",
        b"}",
        b"[",
        b"\"",
        b"-1e999",
        b"\\u0000",
        b"\xff\xfe",
        b"=",
        b";",
        b"/",
        b"\n",
    ];
    let at = numbers.below(text.len() + 1);
    match numbers.below(6) {
        0 => text.truncate(at),
        1 if at < text.len() => text[at] = numbers.below(256) as u8,
        2 if at < text.len() => _ = text.remove(at),
        3 => text.extend_from_within(at..),
        4 => _ = text.splice(at..at, b"[[[[{\"a\":".repeat(numbers.below(200)).iter().copied()),
        _ => _ = text.splice(at..at, PIECES[numbers.below(PIECES.len())].iter().copied()),
    }
}

fn assert_proper(outcome: &Outcome, told: &dyn std::fmt::Debug) {
    if outcome.exit == 0 {
        return;
    }
    let object: Value =
        serde_json::from_str(&outcome.output).unwrap_or_else(|_| panic!("{outcome:?}: {told:?}"));
    let code = object["code"].as_u64().unwrap();
    assert!(
        weir_cni::failure::Code::ALL
            .iter()
            .any(|known| u64::from(known.number()) == code && code != 103),
        "{object}"
    );
    assert!(
        version::is_supported(object["cniVersion"].as_str().unwrap()),
        "{object}"
    );
    assert!(!object["msg"].as_str().unwrap().is_empty());
}

#[test]
fn every_malformed_call_is_answered() {
    let scratch = Scratch::new();
    let numbers = Numbers(Cell::new(0x5745_4952));
    let outcomes = [
        protocol::Outcome::Enrolled,
        protocol::Outcome::Later { why: String::new() },
        protocol::Outcome::Refused {
            why: "\"\n\u{0}".to_owned(),
        },
    ];
    let ask = |_: &_, _: &_, _: Option<&_>, _| match numbers.below(4) {
        3 => Err(AskError::Late),
        choice => Ok(Answer::new(outcomes[choice].clone())),
    };
    let commands = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];
    let mut failed = 0;
    for _ in 0..ROUNDS {
        let mut input = Call::new(&scratch, "ADD").input().into_bytes();
        let mut environment: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
            ("CNI_COMMAND", commands[numbers.below(commands.len())].into()),
            ("CNI_CONTAINERID", b"c1".into()),
            ("CNI_IFNAME", b"eth0".into()),
            ("CNI_NETNS", b"/proc/self/ns/net".into()),
            (
                "CNI_ARGS",
                b"K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u1".into(),
            ),
        ]);
        for _ in 0..numbers.below(3) {
            spoil(&mut input, &numbers);
        }
        if numbers.below(2) == 0 {
            let spoilt = numbers.below(environment.len());
            if let Some(value) = environment.values_mut().nth(spoilt) {
                spoil(value, &numbers);
            }
        }
        let variables = |name: &str| environment.get(name).cloned().map(OsString::from_vec);
        let outcome = run_with(&variables, &input, &ask);
        assert_proper(&outcome, &(&environment, String::from_utf8_lossy(&input)));
        failed += u32::from(outcome.exit != 0);
    }
    assert!(
        failed > ROUNDS / 4 && failed < ROUNDS,
        "{failed} of {ROUNDS} failed"
    );
}

#[test]
fn the_program_itself_answers_too() {
    let scratch = Scratch::new();
    let input = Call::new(&scratch, "ADD").input();
    assert_eq!(error(&run(&[], b""))["code"], 4, "by hand, without anything");
    assert_eq!(
        error(&run(&[("CNI_COMMAND", "ADD")], input.as_bytes()))["code"],
        4
    );
    assert_eq!(error(&run(&[("CNI_COMMAND", "STATUS")], b""))["code"], 6);
    assert_eq!(error(&run(&[("CNI_COMMAND", "STATUS")], &[0; 4096]))["code"], 6);
    let endless = vec![b' '; 5 << 20];
    assert_eq!(error(&run(&[("CNI_COMMAND", "STATUS")], &endless))["code"], 6);
    let deep = b"{\"a\":".repeat(100_000);
    assert_eq!(error(&run(&[("CNI_COMMAND", "STATUS")], &deep))["code"], 6);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_weir-cni"))
        .arg("--version")
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("CNI 0.3.1"));
}
