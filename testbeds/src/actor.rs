//! Processes that act on request in a namespace and a cgroup of their own.
//!
//! Threads share their process's cgroup, so whatever depends on one needs a process: `weir-actor`.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use crate::cgroup::Cgroup;
use crate::netns::Netns;
use crate::process::{self, Process};
use crate::traffic::dns::{Answer, Query};
use crate::traffic::{Accepted, ClientSpec, Exchange, Failure, ServerSpec};

pub mod protocol;
pub mod stage;

use protocol::{Reply, Request};

const PROGRAM: &str = "weir-actor";

/// Why an actor could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not where it is looked for.
    #[error("{PROGRAM} is not next to {0}: `cargo build -p weir-testbeds` builds it")]
    NotBuilt(PathBuf),
    /// The program could not be started.
    #[error(transparent)]
    Start(#[from] process::Error),
    /// The actor has ended, or its pipes have failed.
    #[error("the actor does not answer: {0}")]
    Silent(#[from] io::Error),
    /// The actor is of another version.
    #[error("the actor answered out of turn ({0}): rebuild it with `cargo build -p weir-testbeds`")]
    OutOfTurn(String),
    /// What was asked for failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// A process that acts for a test; dropping it ends the process and all its connections.
#[derive(Debug)]
pub struct Actor {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    process: Process,
}

/// A connection that an actor holds open.
#[derive(Clone, Debug)]
pub struct Held {
    number: usize,
    /// What both sides saw when it was opened.
    pub exchange: Exchange,
}

/// A server that an actor runs.
#[derive(Clone, Debug)]
pub struct Hosted {
    number: usize,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Actor {
    /// Starts an actor in a namespace, and in a cgroup if one is given.
    pub fn start(netns: &Netns, cgroup: Option<&Cgroup>) -> Result<Self, Error> {
        let mut command = launcher(cgroup)?;
        command.arg("act").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = netns.spawn(command)?;
        let child = process.child();
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(Self {
            stdin,
            stdout: BufReader::new(stdout),
            process,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Connects, has a few bytes echoed, and closes.
    pub fn exchange(&mut self, spec: &ClientSpec) -> Result<Exchange, Error> {
        match self.ask(&Request::Exchange(spec.clone()))? {
            Reply::Exchanged(exchange) => Ok(exchange),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Connects and stays connected.
    pub fn open(&mut self, spec: &ClientSpec) -> Result<Held, Error> {
        match self.ask(&Request::Open(spec.clone()))? {
            Reply::Opened { number, exchange } => Ok(Held { number, exchange }),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Has bytes echoed on an open connection.
    pub fn echo(&mut self, connection: &Held, text: &str) -> Result<(), Error> {
        self.demand(&Request::Echo {
            number: connection.number,
            text: text.to_owned(),
        })
    }

    /// Sends zeros on an open connection and leaves unread what comes back, until so many are sent or the buffers are
    /// full.
    pub fn pour(&mut self, connection: &Held, bytes: usize) -> Result<(), Error> {
        self.demand(&Request::Pour {
            number: connection.number,
            bytes,
        })
    }

    /// Closes an open connection in order.
    pub fn close(&mut self, connection: &Held) -> Result<(), Error> {
        self.demand(&Request::Close {
            number: connection.number,
        })
    }

    /// Starts a server that runs as long as the actor.
    pub fn serve(&mut self, spec: &ServerSpec) -> Result<Hosted, Error> {
        match self.ask(&Request::Serve(spec.clone()))? {
            Reply::Listening { number, address } => Ok(Hosted { number, address }),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Everyone who has come to a server, in order.
    pub fn connections(&mut self, server: &Hosted) -> Result<Vec<Accepted>, Error> {
        match self.ask(&Request::Connections {
            number: server.number,
        })? {
            Reply::Accepted(connections) => Ok(connections),
            other => Err(out_of_turn(&other)),
        }
    }

    /// Stops a server.
    pub fn stop(&mut self, server: &Hosted) -> Result<(), Error> {
        self.demand(&Request::Stop {
            number: server.number,
        })
    }

    /// Asks a resolver.
    pub fn resolve(&mut self, query: &Query) -> Result<Answer, Error> {
        match self.ask(&Request::Resolve(query.clone()))? {
            Reply::Answered(answer) => Ok(answer),
            other => Err(out_of_turn(&other)),
        }
    }

    fn demand(&mut self, request: &Request) -> Result<(), Error> {
        match self.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(out_of_turn(&other)),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, Error> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        self.stdin.write_all(&line)?;
        let mut answer = String::new();
        if self.stdout.read_line(&mut answer)? == 0 {
            return Err(Error::Silent(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_str(&answer).map_err(|_| Error::OutOfTurn(answer))? {
            Reply::Failed(failure) => Err(Error::Failed(failure)),
            reply => Ok(reply),
        }
    }
}

/// A command that starts `program` in a cgroup before it acts, and ends it with this process.
///
/// Arguments and pipes are added to it as to any command; [`Netns::spawn`] starts it.
pub fn supervised(program: impl AsRef<OsStr>, cgroup: Option<&Cgroup>) -> Result<Command, Error> {
    let mut command = launcher(cgroup)?;
    command.arg("exec").arg(program);
    Ok(command)
}

fn launcher(cgroup: Option<&Cgroup>) -> Result<Command, Error> {
    let mut command = Command::new(find_program()?);
    command.arg(std::process::id().to_string());
    command.arg(cgroup.map_or(Path::new(""), Cgroup::path));
    Ok(command)
}

/// Test binaries are in `deps/`, one below the program; others are next to it.
fn find_program() -> Result<PathBuf, Error> {
    let this = std::env::current_exe()?;
    let found = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(PROGRAM))
        .find(|path| path.exists());
    found.ok_or(Error::NotBuilt(this))
}

fn out_of_turn(reply: &Reply) -> Error {
    Error::OutOfTurn(format!("{reply:?}"))
}
