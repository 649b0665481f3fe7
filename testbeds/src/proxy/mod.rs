//! Starts a proxy that redirected connections go to, and tells what it saw of them.

mod access_log;
mod kind;
mod readiness;
mod scratch;
mod spec;
mod standin;
mod ztunnel;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

pub use kind::{ProxyKind, ZTUNNEL_VARIABLE};
pub use spec::{Contract, Dns, Member, ProxySpec};
pub use weir_standin::record::{Direction, Learnt, Outcome, Record};

use crate::deadline::{Expired, eventually};
use crate::process::{self, Process};
use scratch::{Scratch, lines};

/// Why a proxy does not run, or did not do what was waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stand-in is built by its own package.
    #[error("no weir-standin in {0}: build it with `cargo build -p weir-standin` (same profile)")]
    NoStandIn(PathBuf),
    /// The variable names no file.
    #[error("WEIR_ZTUNNEL names {0}, which is no file")]
    NoZtunnel(PathBuf),
    /// One of its files could not be used.
    #[error("proxy: cannot {step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The program could not be started.
    #[error(transparent)]
    Start(#[from] process::Error),
    /// It did not get there in time; what it printed may tell why.
    #[error("the proxy {what}: {expired}; it printed:\n{output}")]
    Late {
        /// What was waited for.
        what: &'static str,
        /// How long.
        expired: Expired,
        /// Its output.
        output: String,
    },
}

/// A proxy; dropping it kills and reaps the process and removes its files.
#[derive(Debug)]
pub struct Proxy {
    spec: ProxySpec,
    kind: ProxyKind,
    process: Option<Process>,
    /// Where in the output this process's part begins.
    output_start: u64,
    scratch: Scratch,
}

impl Proxy {
    /// Starts the proxy that the environment asks for.
    pub fn start(spec: ProxySpec) -> Result<Self, Error> {
        Self::start_kind(ProxyKind::from_env()?, spec)
    }

    /// Starts a certain proxy.
    pub fn start_kind(kind: ProxyKind, spec: ProxySpec) -> Result<Self, Error> {
        let scratch = Scratch::new().map_err(failed("make its directory"))?;
        let mut proxy = Self {
            spec,
            kind,
            process: None,
            output_start: 0,
            scratch,
        };
        proxy.write_mesh()?;
        proxy.spawn()?;
        Ok(proxy)
    }

    /// The program it is.
    pub fn kind(&self) -> &ProxyKind {
        &self.kind
    }

    /// What it was started as.
    pub fn spec(&self) -> &ProxySpec {
        &self.spec
    }

    /// The process id; none while it is dead.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Kills it, as a crash does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Kills it if it runs, and starts it anew; its records stay.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill();
        self.spawn()
    }

    /// Changes the cgroup that it starts in next time.
    pub fn set_cgroup(&mut self, directory: &Path) {
        self.spec.cgroup = Some(directory.to_owned());
    }

    /// Changes who is in the mesh. The stand-in knows at once; a ztunnel reads its file only at start, so it restarts.
    pub fn set_members(&mut self, members: Vec<Member>) -> Result<(), Error> {
        self.spec.members = members;
        self.write_mesh()?;
        match self.kind {
            ProxyKind::StandIn(_) => Ok(()),
            ProxyKind::Ztunnel(_) => self.restart(),
        }
    }

    /// Is it ready: in-pod, all announced pods are served; node, it listens?
    pub fn is_ready(&self) -> bool {
        match self.kind {
            ProxyKind::StandIn(_) => readiness::stand_in_is_ready(&self.scratch.output(), self.output_start),
            ProxyKind::Ztunnel(_) => readiness::ztunnel_is_ready(&self.spec.netns),
        }
    }

    /// Waits until it is ready.
    pub fn wait_ready(&self, deadline: Duration) -> Result<(), Error> {
        eventually(deadline, || self.is_ready().then_some(()))
            .map_err(|expired| self.late("is not ready", expired))
    }

    /// Waits until the process ends by itself.
    pub fn wait_exit(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        let Some(process) = &mut self.process else {
            return Err(failed("wait for it")(io::Error::other("it has been killed")));
        };
        let ended = eventually(deadline, || process.child().try_wait().transpose());
        match ended {
            Ok(status) => status.map_err(failed("wait for it")),
            Err(expired) => Err(self.late("still runs", expired)),
        }
    }

    /// What it has written down so far, oldest first. A ztunnel writes when a connection is over.
    pub fn connections(&self) -> Vec<Record> {
        match self.kind {
            // The file has only whole lines of the stand-in's own making.
            ProxyKind::StandIn(_) => read(&self.scratch.records(), |line| serde_json::from_str(line).ok()),
            ProxyKind::Ztunnel(_) => read(&self.scratch.output(), access_log::record),
        }
    }

    /// Waits for a connection that satisfies the condition, past ones included.
    pub fn wait_for(&self, deadline: Duration, wanted: impl Fn(&Record) -> bool) -> Result<Record, Error> {
        eventually(deadline, || {
            self.connections().into_iter().find(|record| wanted(record))
        })
        .map_err(|expired| {
            let mut late = self.late("has seen no such connection", expired);
            if let Error::Late { output, .. } = &mut late {
                output.extend(self.connections().iter().map(|record| format!("{record:?}\n")));
            }
            late
        })
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.scratch.output()).unwrap_or_default()
    }

    fn spawn(&mut self) -> Result<(), Error> {
        let (output, start) = self.scratch.append_output().map_err(failed("open its output"))?;
        let command = match &self.kind {
            ProxyKind::StandIn(program) => standin::command(program, &self.spec, &self.scratch),
            ProxyKind::Ztunnel(program) => ztunnel::command(program, &self.spec, &self.scratch),
        };
        let command = match &self.spec.cgroup {
            Some(directory) => inside_cgroup(directory, &command),
            None => command,
        };
        self.process = Some(self.spec.netns.spawn(with_output(command, output)?)?);
        self.output_start = start;
        Ok(())
    }

    fn write_mesh(&self) -> Result<(), Error> {
        let members = &self.spec.members;
        let written = match self.kind {
            ProxyKind::StandIn(_) => self
                .scratch
                .write_mesh(&standin::mesh(&self.spec.contract, members)),
            ProxyKind::Ztunnel(_) => self.scratch.write_mesh(&ztunnel::local(members)),
        };
        written.map_err(failed("write its mesh file"))
    }

    fn late(&self, what: &'static str, expired: Expired) -> Error {
        Error::Late {
            what,
            expired,
            output: self.output(),
        }
    }
}

/// The same command, which moves itself into a cgroup before the program runs.
fn inside_cgroup(directory: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new("/bin/sh");
    wrapped.env_clear();
    wrapped
        .arg("-c")
        .arg(r#"echo $$ > "$0/cgroup.procs" && exec "$@""#)
        .arg(directory);
    wrapped.arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    wrapped
}

fn with_output(mut command: Command, output: File) -> Result<Command, Error> {
    let errors = output.try_clone().map_err(failed("share its output"))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    Ok(command)
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
    lines(path, 0).iter().filter_map(|line| parse(line)).collect()
}

fn failed(step: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { step, source }
}
