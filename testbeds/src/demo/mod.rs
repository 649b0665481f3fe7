//! The demo: a node in network namespaces, the real agent, a proxy, and connections between all who can reach each
//! other, before and after the pods are in the mesh.

mod cast;
mod keep;
mod pair;
mod screen;
mod stop;
mod table;
mod trial;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::mesh::{self, Mesh};
use crate::proxy::{self, ProxyKind};
use crate::traffic::Failure;
use crate::world::{Family, World};
use cast::Cast;
use pair::Pair;
use screen::{Colour, Screen};
use stop::Stop;
use table::Row;
use trial::Trial;

/// What the demo is asked to do.
#[derive(Debug, clap::Parser)]
#[command(name = "weir-demo", version)]
pub struct Args {
    /// Leave everything up and print how to look around, until Enter or Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Use this ztunnel (built with its `testing` feature) instead of the stand-in proxy.
    #[arg(long, value_name = "PATH", env = proxy::ZTUNNEL_VARIABLE)]
    ztunnel: Option<PathBuf>,
    /// Address families of the world.
    #[arg(long, value_enum, default_value_t = FamilyName::V4)]
    family: FamilyName,
    /// Where the proxy has its sockets: in the pods, or in a pod of its own.
    #[arg(long, value_enum, default_value_t = ContractName::InPod)]
    contract: ContractName,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ContractName {
    InPod,
    Node,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FamilyName {
    V4,
    V6,
    Dual,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// World, agent or proxy did not come up.
    #[error(transparent)]
    Mesh(#[from] mesh::Error),
    /// The proxy is not there.
    #[error(transparent)]
    Proxy(#[from] proxy::Error),
    /// A server could not be started.
    #[error(transparent)]
    Server(#[from] Failure),
    /// The output is closed.
    #[error("cannot print: {0}")]
    Print(#[source] io::Error),
    /// A program could not be run.
    #[error("cannot run {program}: {source}")]
    Run {
        /// The program.
        program: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Signals could not be listened to, so that nothing would be cleaned up after Ctrl-C.
    #[error("cannot listen to signals: {0}")]
    Signals(#[source] io::Error),
    /// A namespace could not get a name.
    #[error("cannot give the namespace of {name} a name under /run/netns: {source}")]
    Publish {
        /// Whose namespace.
        name: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    /// Whether whoever was reading, such as `head`, has seen enough.
    #[must_use]
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Print(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every pair was as expected.
    AsExpected,
    /// Some pair was not.
    Surprise,
    /// A signal ended it.
    Stopped,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::AsExpected => Self::SUCCESS,
            Outcome::Surprise => Self::FAILURE,
            // As shells report a process that SIGINT ended.
            Outcome::Stopped => 130.into(),
        }
    }
}

/// Shows it.
///
/// # Errors
/// [`Error`]; nothing is left behind.
pub fn run(args: &Args) -> Result<Outcome, Error> {
    let stop = Stop::listen().map_err(Error::Signals)?;
    let screen = Screen::stdout();
    screen.line(&format!("weir check: {}", verdict()?))?;
    let builder = cast::mesh(args.family.into(), args.contract).proxy_kind(args.proxy()?);
    let pairs = pair::of(args.contract);
    let world = builder.world().map_err(mesh::Error::from)?;
    let cast = Cast::start(&world, &pairs)?;
    let direct = trials(&world, &pairs, &stop, |pair, to| trial::direct(&world, pair, to));
    if stop.is_raised() {
        return Ok(Outcome::Stopped);
    }
    let began = Instant::now();
    let mesh = builder.start_in(world)?;
    screen.line(&format!(
        "agent, {} and four pods in the mesh: up in {:.1} s\n",
        args.proxy_name(),
        began.elapsed().as_secs_f64()
    ))?;
    let meshed = trials(&mesh.world, &pairs, &stop, |pair, to| {
        trial::in_mesh(&mesh, pair, to)
    });
    if stop.is_raised() {
        return Ok(Outcome::Stopped);
    }
    let rows: Vec<Row> = direct.into_iter().zip(meshed).map(Row::from).collect();
    let outcome = tell(args, &screen, &rows)?;
    if args.keep {
        keep::until_told(&mesh, args.contract, &screen, &stop)?;
    }
    drop(cast);
    Ok(outcome)
}

/// A connection of each pair in each family, until a signal comes.
fn trials(
    world: &World,
    pairs: &[&'static Pair],
    stop: &Stop,
    attempt: impl Fn(&'static Pair, std::net::IpAddr) -> Trial,
) -> Vec<Trial> {
    pairs
        .iter()
        .flat_map(|&pair| cast::addresses(world, pair.to).iter().map(move |to| (pair, to)))
        .take_while(|_| !stop.is_raised())
        .map(|(pair, to)| attempt(pair, to))
        .collect()
}

fn tell(args: &Args, screen: &Screen, rows: &[Row]) -> Result<Outcome, Error> {
    screen.print(&table::render(rows, screen))?;
    let surprises = rows.iter().filter(|row| !row.is_as_expected()).count();
    screen.line("")?;
    let outcome = if surprises == 0 {
        let all = format!("all {} as expected", rows.len());
        screen.line(&screen.paint(Colour::Good, &all))?;
        Outcome::AsExpected
    } else {
        let some = format!("{surprises} of {} not as expected", rows.len());
        screen.line(&screen.paint(Colour::Bad, &some))?;
        Outcome::Surprise
    };
    screen.line(args.closing_words())?;
    Ok(outcome)
}

/// The last line of `weir check`.
fn verdict() -> Result<String, Error> {
    let output = Command::new(mesh::program("weir")?)
        .arg("check")
        .output()
        .map_err(|source| Error::Run {
            program: "weir",
            source,
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next_back().unwrap_or("no answer").to_owned())
}

impl Args {
    fn proxy(&self) -> Result<ProxyKind, proxy::Error> {
        match self.ztunnel() {
            Some(path) => ProxyKind::ztunnel(path),
            None => ProxyKind::stand_in(),
        }
    }

    fn proxy_name(&self) -> &'static str {
        if self.ztunnel().is_some() {
            "ztunnel"
        } else {
            "stand-in proxy"
        }
    }

    /// An empty variable names no ztunnel.
    fn ztunnel(&self) -> Option<&Path> {
        self.ztunnel
            .as_deref()
            .filter(|path| !path.as_os_str().is_empty())
    }

    fn closing_words(&self) -> &'static str {
        if self.keep { "" } else { CLOSING }
    }
}

const CLOSING: &str = "
TIME: the quickest of 20 connections with one echo each, against the same before the agent came. It includes the
proxy; a stand-in of a debug build says nothing about ztunnel.

next:  ./x demo --keep             leaves all this up and prints how to look around
       ./x demo --ztunnel PATH     the same with a real ztunnel
       ./x demo --contract node    the proxy in a pod of its own, as before Istio 1.21
       docs/reasons.md             why a connection was treated as it was
       ARCHITECTURE.md             how it works";

impl From<FamilyName> for Family {
    fn from(name: FamilyName) -> Self {
        match name {
            FamilyName::V4 => Self::V4,
            FamilyName::V6 => Self::V6,
            FamilyName::Dual => Self::Dual,
        }
    }
}
