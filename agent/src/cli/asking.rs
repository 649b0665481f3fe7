//! What the commands that talk to the agent share.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use weir_agent::admin::client::ClientError;
use weir_agent::datapath::{OtherLayout, Pins};
use weir_common::names::{LAYOUT_VERSION, PIN_ROOT};

use super::agent::config::ADMIN_SOCKET;

/// No agent answers.
pub const DOWN: u8 = 3;
/// The agent does not know the pod, or not which of several is meant.
pub const UNKNOWN_POD: u8 = 4;

/// Where the agent and its kernel objects are.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// The agent's socket.
    #[arg(long, env = "WEIR_ADMIN_SOCKET", value_name = "PATH", default_value = ADMIN_SOCKET)]
    pub admin_socket: PathBuf,
    /// Directory of all pins, for when no agent answers.
    #[arg(long, env = "WEIR_PIN_ROOT", value_name = "DIRECTORY", default_value = PIN_ROOT)]
    pub pin_root: PathBuf,
}

impl Where {
    /// The pins.
    pub fn pins(&self) -> Pins {
        Pins::new(&self.pin_root)
    }
}

/// Runs what talks to the agent.
pub fn wait_for<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no descriptors for a conversation")?;
    Ok(runtime.block_on(work))
}

/// So many pods, in words.
pub fn counted(pods: usize) -> String {
    if pods == 1 {
        "1 pod".to_owned()
    } else {
        format!("{pods} pods")
    }
}

/// Tells of what agents of other layouts have left: what they hold, only they can tell.
pub fn tell_of_other_layouts(at: &Where) -> Result<()> {
    for pins in at.pins().others()? {
        let (layout, base) = (pins.layout(), pins.base().to_owned());
        let pods = OtherLayout::open(pins)?.cookies()?.len();
        eprintln!(
            "weir: layout {layout} has {} in its hands, at {}; this weir is of layout {LAYOUT_VERSION}: ask one of that, or start the agent, which takes them over",
            counted(pods),
            base.display()
        );
    }
    Ok(())
}

/// The exit code for answers that are none; other errors are handed on.
pub fn no_answer(error: ClientError) -> Result<ExitCode> {
    let code = match error {
        ClientError::Down { .. } => DOWN,
        ClientError::UnknownPod(_) => UNKNOWN_POD,
        error => return Err(error.into()),
    };
    eprintln!("weir: {error}");
    Ok(code.into())
}

/// One component of a request's path: names of pods hold nothing that would have to be escaped but the slash, which
/// the agent takes as it is.
pub fn path(prefix: &str, pod: Option<&str>) -> String {
    match pod {
        Some(pod) => format!("{prefix}/{}", escaped(pod)),
        None => prefix.to_owned(),
    }
}

/// What cannot be in a path becomes what no pod's name holds, so that the pod is unknown.
fn escaped(pod: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:@!$&'()*+,;=".contains(c);
    pod.chars().map(|c| if is_plain(c) { c } else { '~' }).collect()
}
