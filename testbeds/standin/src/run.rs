//! From arguments to a running proxy.

use std::sync::Arc;

use anyhow::Context;
use nix::sys::signal::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::cli::{Cli, Common, Contract, InPod, Node};
use crate::dns::zone::Zone;
use crate::mesh::{Mesh, Peer};
use crate::netns::Netns;
use crate::record::Recorder;
use crate::route::SameNode;
use crate::sockets::Factory;
use crate::tunnel::{Instance, Serves, listen};
use crate::zds::pods::{Pods, Settings};
use crate::zds::session::Session;

/// Runs until it is killed, or until the node agent breaks the protocol.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let common = cli.contract.common();
    if common.die_with_parent {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("--die-with-parent")?;
    }
    let runtime = runtime(common.threads).context("starting worker threads")?;
    runtime.block_on(async {
        match cli.contract {
            Contract::InPod(arguments) => in_pod(arguments).await,
            Contract::Node(arguments) => node(arguments).await,
        }
    })
}

fn runtime(threads: Option<usize>) -> std::io::Result<Runtime> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.unwrap_or((cpus / 4).max(2));
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
}

async fn in_pod(arguments: InPod) -> anyhow::Result<()> {
    let zone = Zone::new(arguments.dns_answer, arguments.dns_upstream);
    let settings = Settings {
        original_source: !arguments.common.no_orig_src,
        recorder: recorder(&arguments.common)?,
        mesh: mesh(arguments.common, Vec::new()),
        dns: (!arguments.no_dns).then(|| Arc::new(zone)),
    };
    let error = Session::new(arguments.zds, Pods::new(settings)).run().await;
    Err(error).context("the node agent broke the protocol")
}

async fn node(arguments: Node) -> anyhow::Result<()> {
    // Held, so that nothing is ever cut.
    let (_cut, on_cut) = watch::channel(false);
    let same_node = if arguments.hairpin {
        SameNode::Hairpin
    } else {
        SameNode::Straight
    };
    let instance = Instance {
        sockets: Factory {
            netns: Netns::own(),
            mark: None,
        },
        serves: Serves::Node(same_node),
        original_source: !arguments.common.no_orig_src,
        recorder: recorder(&arguments.common)?,
        mesh: mesh(arguments.common, arguments.local),
        cut: on_cut,
    };
    let mut listeners = listen(&Arc::new(instance)).await.context("node contract")?;
    println!("ready");
    while listeners.join_next().await.is_some() {}
    Ok(())
}

fn recorder(common: &Common) -> anyhow::Result<Recorder> {
    match &common.record {
        Some(path) => Recorder::to_file(path).with_context(|| format!("--record {}", path.display())),
        None => Ok(Recorder::off()),
    }
}

fn mesh(common: Common, local: Vec<std::net::IpAddr>) -> Arc<Mesh> {
    let remote = common.peer.into_iter().map(|address| (address, Peer::Hbone));
    let local = local.into_iter().map(|address| (address, Peer::Local));
    Arc::new(Mesh::new(remote.chain(local).collect(), common.mesh_file))
}
