//! `weir status`

mod text;

use std::process::ExitCode;

use anyhow::Result;
use hyper::Method;
use weir_agent::admin::client::{self, ClientError};
use weir_agent::api::status::{PodDetail, Status};
use weir_agent::api::time::Timestamp;
use weir_agent::status::pinned;

use super::asking::{self, Where};
use super::output::Output;

/// Tells which pods are in the mesh, and why the others are not.
///
/// Exit code 0: told, 1: something went wrong, 3: no agent answers (what the kernel holds is told instead),
/// 4: no such pod.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One pod in detail: its name, namespace/name, or UID.
    pod: Option<String>,
    #[command(flatten)]
    at: Where,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let path = asking::path("/status", args.pod.as_deref());
    let socket = &args.at.admin_socket;
    let told = match args.pod {
        Some(_) => asking::wait_for(client::ask::<PodDetail>(socket, Method::GET, &path))?
            .map(|pod| output.print(&pod, |style| text::detail(&pod, Timestamp::now(), style))),
        None => asking::wait_for(client::ask::<Status>(socket, Method::GET, &path))?
            .map(|status| output.print(&status, |style| text::node(&status, Timestamp::now(), style))),
    };
    match told {
        Ok(printed) => printed.map(|()| ExitCode::SUCCESS),
        Err(error @ ClientError::Down { .. }) => {
            let code = asking::no_answer(error)?;
            without_agent(args, output)?;
            Ok(code)
        }
        Err(error) => asking::no_answer(error),
    }
}

/// The kernel goes on without an agent; its side of the story is told under netns cookies.
fn without_agent(args: &Args, output: &Output) -> Result<()> {
    let pins = args.at.pins();
    asking::tell_of_other_layouts(&args.at)?;
    if !pins.exist() {
        eprintln!("weir: no data plane is pinned at {}", args.at.pin_root.display());
        return Ok(());
    }
    let pinned = pinned::read(&pins)?;
    output.print(&pinned, |style| text::pinned(&pinned, style))
}
