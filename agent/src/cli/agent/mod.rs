//! `weir agent`

mod address;
pub mod cni;
pub mod config;
mod duration;
mod log;
#[cfg(test)]
mod manifest;
mod settings;
mod source;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;
use weir_agent::admin::AdminServer;
use weir_agent::cni_conf::Installer;
use weir_agent::cni_server;
use weir_agent::container;
use weir_agent::datapath::sys::share_heaps;
use weir_agent::probes::ProbeServer;
use weir_agent::run::agent::Agent;
use weir_agent::run::config::AgentConfig;

use settings::Settings;

/// Threads for what blocks: requests to the kernel, which more of them would only have wait for each other, each with a
/// stack of its own.
const BLOCKING_THREADS: usize = 16;

/// Runs the node agent until SIGTERM or SIGINT.
///
/// Each flag can also come from the environment, or from the configuration file under the flag's name; a flag wins
/// over the environment, the environment over the file.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A YAML file of settings.
    #[arg(long, env = "WEIR_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: Args) -> Result<ExitCode> {
    let settings = args.settings.or(config::read_file(args.config.as_deref())?);
    let filter = settings.log.clone().unwrap_or_else(|| "info".to_owned());
    log::begin(settings.log_format.unwrap_or_default(), &filter)?;
    container::step_out()?;
    let selectors = config::read_selectors(settings.enablement_selectors.as_deref())?;
    let config = config::resolve(settings, selectors)?;
    share_heaps();
    take_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("no threads for the agent")?;
    // Beside the others, not on this thread: each call from there to here would take two switches of threads.
    runtime.block_on(runtime.spawn(serve(config)))??;
    Ok(ExitCode::SUCCESS)
}

/// A pod takes some, and many processes may have 1,024 unless they ask for more.
fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        warn!(%error, "cannot have as many descriptors as is allowed");
    }
}

async fn serve(config: AgentConfig) -> Result<()> {
    // Signals are awaited from the first moment, so that one that comes during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
    // The socket comes first: whoever holds it is the node's agent, and a second one touches nothing.
    let admin = AdminServer::bind(&config.admin_socket)?;
    let probes = match config.http_address {
        Some(address) => Some(ProbeServer::bind(address).await?),
        None => None,
    };
    let cni = config.cni.clone();
    let installer = cni
        .as_ref()
        .and_then(|cni| cni.install.clone())
        .map(Installer::new);
    if let Some(installer) = &installer {
        installer.check()?;
    }
    let mut agent = Agent::start(config).await?;
    let (view, calls) = (agent.view(), agent.calls());
    if let Some(cni) = cni {
        let serving = cni_server::serve(cni.socket, installer.clone(), view.clone(), calls);
        agent.watch("answers the CNI plugin", serving);
    }
    agent.watch("answers operators", admin.serve(view.clone()));
    if let Some(probes) = probes {
        agent.watch("answers probes", probes.serve(view));
    }
    agent
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if let Some(installer) = installer {
                installer.end();
            }
        })
        .await?;
    Ok(())
}
