//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::dns::zone::FixedAnswer;

/// A stand-in for ztunnel that tunnels in clear and writes down what it saw.
#[derive(Debug, Parser)]
#[command(name = "weir-standin", version)]
pub struct Cli {
    /// Which contract to keep.
    #[command(subcommand)]
    pub contract: Contract,
}

/// The two ways in which ztunnel and a redirector work together.
#[derive(Debug, Subcommand)]
pub enum Contract {
    /// Sockets in every pod's namespace, which a node agent hands over by ZDS.
    InPod(InPod),
    /// Sockets in the own namespace; pods are known by their addresses.
    Node(Node),
}

/// Arguments of the in-pod contract.
#[derive(Debug, Args)]
pub struct InPod {
    /// The node agent's socket.
    #[arg(long, env = "INPOD_UDS", default_value = "/var/run/ztunnel/ztunnel.sock")]
    pub zds: PathBuf,
    /// Answer DNS questions with ADDRESS, for NAME or for every name.
    #[arg(long, value_name = "[NAME=]ADDRESS")]
    pub dns_answer: Vec<FixedAnswer>,
    /// Ask this server what is not answered so.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub dns_upstream: Option<SocketAddr>,
    /// Open no DNS listeners.
    #[arg(long, conflicts_with_all = ["dns_answer", "dns_upstream"])]
    pub no_dns: bool,
    /// What both contracts have.
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of the node contract.
#[derive(Debug, Args)]
pub struct Node {
    /// A pod of this node.
    #[arg(long, value_name = "ADDRESS")]
    pub local: Vec<IpAddr>,
    /// Tunnel between pods of this node too, to be turned back by the redirector.
    #[arg(long)]
    pub hairpin: bool,
    /// What both contracts have.
    #[command(flatten)]
    pub common: Common,
}

/// Arguments of both.
#[derive(Debug, Args)]
pub struct Common {
    /// Append a JSON line about every connection to this file.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// An address that has a proxy on its port 15008.
    #[arg(long, value_name = "ADDRESS")]
    pub peer: Vec<IpAddr>,
    /// A JSON object {address: "hbone" | "tcp" | "local"}, read again whenever it changes.
    #[arg(long, value_name = "FILE")]
    pub mesh_file: Option<PathBuf>,
    /// Neither take connections to foreign addresses nor connect from the client's address.
    #[arg(long)]
    pub no_orig_src: bool,
    /// Worker threads; by default a quarter of the CPUs, but at least two.
    #[arg(long)]
    pub threads: Option<usize>,
    /// End when the thread that started this process ends.
    #[arg(long)]
    pub die_with_parent: bool,
}

impl Contract {
    /// What both contracts have.
    pub fn common(&self) -> &Common {
        match self {
            Self::InPod(InPod { common, .. }) | Self::Node(Node { common, .. }) => common,
        }
    }
}
