//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser};

/// Looks at redirection from inside pods: run it in pods of the mesh and outside of it.
#[derive(Debug, Parser)]
#[command(name = "weir-conformance", version)]
pub enum Cli {
    /// Answers on ports, by TCP and UDP, and tells each client who it seems to be.
    Serve(Serve),
    /// Goes through the list. Exit code 2: something is not as it must be.
    Run(Run),
    /// Connects before it does anything else.
    First(First),
    /// Keeps a connection open and makes new ones, while somebody restarts things.
    Endure(Endure),
    /// The same while somebody takes Weir away: connections may be refused as it goes, and are in clear in the end.
    Depart(Endure),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// What the server calls itself.
    #[arg(long)]
    pub name: String,
    /// Where it answers.
    #[arg(long, required = true, value_delimiter = ',')]
    pub ports: Vec<u16>,
}

#[derive(Debug, Args)]
pub struct Run {
    /// This pod is in the mesh.
    #[arg(long)]
    pub in_mesh: bool,
    /// Names or addresses of pods in the mesh.
    #[arg(long, value_delimiter = ',')]
    pub mesh: Vec<String>,
    /// Names or addresses of pods outside of it.
    #[arg(long, value_delimiter = ',')]
    pub outside: Vec<String>,
    /// Names of services with addresses of their own.
    #[arg(long, value_delimiter = ',')]
    pub services: Vec<String>,
    /// Where all of them answer.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// A further port, which annotations of all pods in the mesh exclude.
    #[arg(long)]
    pub excluded_port: Option<u16>,
    /// A port where nobody answers.
    #[arg(long)]
    pub closed_port: Option<u16>,
    /// For programs to read.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct First {
    /// Where to; no name, which would have to be looked up first.
    #[arg(long)]
    pub to: SocketAddr,
}

#[derive(Debug, Args)]
pub struct Endure {
    /// Where to.
    #[arg(long)]
    pub to: SocketAddr,
    /// For how long.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Or until there is this file.
    #[arg(long)]
    pub until: Option<PathBuf>,
}

impl Endure {
    /// Whether somebody has said that it is enough.
    pub fn is_enough(&self) -> bool {
        self.until.as_ref().is_some_and(|until| until.exists())
    }
}
