//! The CNI plugin: the environment and the configuration that a runtime, or whoever calls it, hands over.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use weir_cni::client::AskError;
use weir_cni::failure::Code;
use weir_cni::plugin::{Outcome, run_with};
use weir_cni::protocol::{self, Answer, Request};
use weir_cni::version;

const VARIABLES: [&str; 5] = [
    "CNI_COMMAND",
    "CNI_CONTAINERID",
    "CNI_IFNAME",
    "CNI_NETNS",
    "CNI_ARGS",
];

/// A call: a byte that chooses the agent's answer, the variables, each up to a line's end, and the configuration. A
/// variable without a value is absent.
pub fn cni_plugin(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let mut parts: Vec<&[u8]> = rest.splitn(VARIABLES.len() + 1, |byte| *byte == b'\n').collect();
    let configuration = parts.pop().unwrap_or_default();
    let variables = |name: &str| {
        let at = VARIABLES.iter().position(|known| *known == name)?;
        let value = parts.get(at).filter(|value| !value.is_empty())?;
        Some(OsString::from_vec(value.to_vec()))
    };
    // Opening a device may do something, and a fuzzer may be root.
    if variables("CNI_NETNS").is_some_and(|path| Path::new(&path).starts_with("/dev")) {
        return;
    }
    let ask = |_: &Path, _: &Request, _: Option<&File>, _: Instant| answer(*choice);
    assert_proper(&run_with(&variables, configuration, &ask));
}

/// None that is away, which would be waited for.
fn answer(choice: u8) -> Result<Answer, AskError> {
    let why = || "\"\n\u{0}".to_owned();
    let outcome = match choice % 6 {
        0 => return Err(AskError::Late),
        1 => protocol::Outcome::Enrolled,
        2 => protocol::Outcome::Later { why: why() },
        3 => protocol::Outcome::Refused { why: why() },
        4 => protocol::Outcome::NotCaptured { why: why() },
        _ => protocol::Outcome::Done,
    };
    Ok(Answer::new(outcome))
}

/// It worked, or the runtime gets an error object that the CNI specification knows, and never our own mistake.
fn assert_proper(outcome: &Outcome) {
    if outcome.exit == 0 {
        return;
    }
    let object: Value = serde_json::from_str(&outcome.output).unwrap_or_default();
    let code = object["code"].as_u64();
    let mut codes = Code::ALL.iter().map(|known| u64::from(known.number()));
    assert!(codes.any(|known| Some(known) == code), "{object}");
    assert_ne!(code, Some(u64::from(Code::Internal.number())), "{object}");
    assert!(
        object["cniVersion"].as_str().is_some_and(version::is_supported),
        "{object}"
    );
    assert!(
        object["msg"].as_str().is_some_and(|text| !text.is_empty()),
        "{object}"
    );
}
