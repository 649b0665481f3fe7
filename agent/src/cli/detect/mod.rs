//! `weir detect`

mod pods;
mod text;
mod ztunnel;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use weir_agent::pods::netns::HOST_NETNS;
use weir_netdetect::choose::{ChoiceConfig, Contract, MacvlanOutbound};
use weir_netdetect::report::Detector;

use super::agent::cni::CONF_DIR;
use super::asking::Where;
use super::output::Output;
use pods::Wanted;
use ztunnel::Site;

/// Tells how pods are connected, by which plugin, and on which path their connections get to ztunnel.
///
/// Needs no agent, but for --pod. Exit code 0: told, 1: something went wrong, 3: no agent answers and it takes one,
/// 4: the agent does not know the pod, or not where it is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network namespace at this path.
    #[arg(long, env = "WEIR_NETNS", value_name = "PATH", conflicts_with_all = ["pod", "all"])]
    netns: Option<PathBuf>,
    /// A pod that the agent knows: its name, namespace/name, or UID.
    #[arg(long, env = "WEIR_POD", value_name = "NAME", conflicts_with = "all")]
    pod: Option<String>,
    /// All network namespaces that can be seen from here (the default).
    #[arg(long, env = "WEIR_ALL")]
    all: bool,
    /// What ztunnel expects.
    #[arg(long, env = "WEIR_CONTRACT", value_enum, default_value_t)]
    contract: ContractArg,
    /// The network namespace of the ztunnel, with the node contract [default: as the agent says].
    #[arg(long, env = "WEIR_ZTUNNEL_NETNS", value_name = "PATH")]
    ztunnel_netns: Option<PathBuf>,
    /// How connections of macvlan pods get to a ztunnel on their parent, with the node contract [default: as the agent
    /// has it, or socket].
    #[arg(long, env = "WEIR_MACVLAN_OUTBOUND", value_enum)]
    macvlan_outbound: Option<MacvlanArg>,
    /// The container runtime's directory of network configurations.
    #[arg(long, env = "WEIR_CNI_CONF_DIR", value_name = "DIRECTORY", default_value = CONF_DIR)]
    cni_conf_dir: PathBuf,
    /// A handle of the node's own network namespace.
    #[arg(long, env = "WEIR_HOST_NETNS", value_name = "PATH", default_value = HOST_NETNS)]
    host_netns: PathBuf,
    #[command(flatten)]
    at: Where,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum ContractArg {
    /// It has its sockets in the pods (Istio 1.21 and newer).
    #[default]
    InPod,
    /// It has its sockets in its own namespace.
    Node,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MacvlanArg {
    /// They are made to ztunnel in the first place.
    Socket,
    /// Their packets are sent to ztunnel's Ethernet address.
    Steer,
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let wanted = match (&args.netns, &args.pod) {
        (Some(path), _) => Wanted::Path(path),
        (None, Some(pod)) => Wanted::Pod(pod),
        (None, None) => Wanted::All,
    };
    let found = match pods::find(&wanted, &args.at, &args.host_netns)? {
        Ok(found) => found,
        Err(code) => return Ok(code),
    };
    let host = File::open(&args.host_netns)
        .with_context(|| format!("the node's network namespace {}", args.host_netns.display()))?;
    let (contract, site) = match args.contract {
        ContractArg::InPod => (Contract::InPod, Site::default()),
        ContractArg::Node => {
            let host = (host.as_fd(), args.host_netns.as_path());
            (
                Contract::Node,
                ztunnel::site(args.ztunnel_netns.as_deref(), &args.at, host)?,
            )
        }
    };
    let config = ChoiceConfig {
        macvlan_outbound: args
            .macvlan_outbound
            .map(MacvlanOutbound::from)
            .or(site.macvlan_outbound)
            .unwrap_or_default(),
        ztunnel: site.ztunnel.clone(),
        ..ChoiceConfig::default()
    };
    let detector = Detector::new(host.as_fd(), &args.cni_conf_dir, contract, config)?;
    let mut detected = Vec::new();
    for pod in found {
        match detector.pod(&pod.path, pod.netns.as_fd(), pod.name) {
            Ok(one) => detected.push(one),
            // One of many may go while it is looked at.
            Err(error) if matches!(wanted, Wanted::All) => eprintln!("weir: {}: {error}", pod.path.display()),
            Err(error) => return Err(error).with_context(|| pod.path.display().to_string()),
        }
    }
    let report = detector.report(detected);
    let in_detail = !matches!(wanted, Wanted::All);
    output.print(&report, |style| {
        text::report(&report, (in_detail, &site.source), style)
    })?;
    Ok(ExitCode::SUCCESS)
}

impl From<MacvlanArg> for MacvlanOutbound {
    fn from(way: MacvlanArg) -> Self {
        match way {
            MacvlanArg::Socket => Self::Socket,
            MacvlanArg::Steer => Self::Steer,
        }
    }
}
