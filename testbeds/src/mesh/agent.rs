//! The real agent as a process of the world's node.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Error, at, program};
use crate::actor::supervised;
use crate::deadline::eventually;
use crate::netns::Netns;
use crate::process::Process;

/// Where the agent answers probes that is not to answer any.
pub(super) const NOWHERE: &str = "none";
/// How long the agent may take to end by itself.
const END: Duration = Duration::from_secs(10);

/// The agent, its sockets and its pins.
#[derive(Debug)]
pub struct AgentProcess {
    process: Option<Process>,
    node: Netns,
    directory: PathBuf,
    pin_root: PathBuf,
    flags: Vec<String>,
    /// Where it answers probes and metrics.
    http_address: String,
    /// The program that becomes the agent, with its arguments; the agent itself if empty.
    launcher: Vec<String>,
    /// Where in the log the running process's part begins.
    log_start: usize,
}

impl AgentProcess {
    pub(super) fn start(
        node: &Netns,
        directory: &Path,
        flags: &[String],
        http_address: &str,
    ) -> Result<Self, Error> {
        let name = directory.file_name().unwrap_or_default();
        let pin_root = Path::new("/sys/fs/bpf").join(name);
        let mut agent = Self {
            process: None,
            node: node.clone(),
            directory: directory.to_owned(),
            pin_root,
            flags: flags.to_vec(),
            http_address: http_address.to_owned(),
            launcher: Vec::new(),
            log_start: 0,
        };
        agent.restart()?;
        Ok(agent)
    }

    /// Starts it again by way of a program that takes rights away and then becomes the agent.
    ///
    /// # Errors
    /// [`Error`] if it cannot be started.
    pub fn restart_under(&mut self, launcher: &[&str]) -> Result<(), Error> {
        self.launcher = launcher.iter().map(|word| (*word).to_owned()).collect();
        self.restart()
    }

    /// Starts it again, over whatever the last one has left in the kernel.
    ///
    /// # Errors
    /// [`Error`] if it cannot be started.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process = None;
        self.log_start = self.output().len();
        let log = self.directory.join("agent.log");
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(at(&log))?;
        // It must not outlive this process, even if that is killed.
        let agent = program("weir")?;
        let command = match self.launcher.split_first() {
            None => supervised(agent, None)?,
            Some((launcher, arguments)) => {
                let mut command = supervised(launcher, None)?;
                command.args(arguments).arg(agent);
                command
            }
        };
        let mut command = self.with_subcommand(command, "agent");
        command
            .arg("--zds-socket")
            .arg(self.zds_socket())
            .args(["--host-netns", "/proc/self/ns/net"])
            .args(["--http-address", &self.http_address])
            .args(&self.flags)
            .stdin(std::process::Stdio::null())
            .stdout(output.try_clone().map_err(at(&log))?)
            .stderr(output);
        self.process = Some(self.node.spawn(command)?);
        Ok(())
    }

    /// Gives it a flag from its next start on.
    pub fn add_flag(&mut self, flag: &str) {
        self.flags.push(flag.to_owned());
    }

    /// The same, in the place of the flag of that name if it has one.
    pub fn set_flag(&mut self, name: &str, value: &str) {
        let flag = format!("{name}=");
        self.flags.retain(|given| !given.starts_with(&flag));
        self.flags.push(flag + value);
    }

    /// A `weir` command that talks to this agent.
    ///
    /// # Errors
    /// [`Error::NoProgram`].
    pub fn command(&self, subcommand: &str) -> Result<Command, Error> {
        Ok(self.with_subcommand(Command::new(program("weir")?), subcommand))
    }

    fn with_subcommand(&self, mut command: Command, subcommand: &str) -> Command {
        command
            .arg(subcommand)
            .arg("--admin-socket")
            .arg(self.directory.join("admin.sock"))
            .arg("--pin-root")
            .arg(&self.pin_root);
        command
    }

    /// Runs a `weir` command to its end.
    ///
    /// # Errors
    /// [`Error`] if it cannot be run.
    pub fn run(&self, subcommand: &str, arguments: &[&str]) -> Result<Output, Error> {
        self.command(subcommand)?
            .args(arguments)
            .output()
            .map_err(at(Path::new("weir")))
    }

    /// The state of a pod, as `weir status` tells it; nothing while the agent does not answer.
    #[must_use]
    pub fn state_of(&self, pod: &str) -> Option<String> {
        let output = self.run("status", &["-o", "json"]).ok()?;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let pods = status.get("pods")?.as_array()?;
        let found = pods.iter().find(|status| status["name"] == pod)?;
        found["state"].as_str().map(str::to_owned)
    }

    /// What it answers on this path, if it was told to answer.
    ///
    /// # Errors
    /// [`Error`] if it does not.
    pub fn get(&self, path: &str) -> Result<String, Error> {
        let mut answer = String::new();
        let asked = self.node.run(|| {
            let mut stream = TcpStream::connect(&*self.http_address)?;
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n"
            )?;
            stream.read_to_string(&mut answer)
        });
        asked.map_err(at(Path::new(path)))?;
        Ok(answer)
    }

    /// What it has printed since it was started the last time.
    #[must_use]
    pub fn output_since_start(&self) -> String {
        self.output().split_off(self.log_start)
    }

    /// Where ztunnel connects.
    #[must_use]
    pub fn zds_socket(&self) -> PathBuf {
        self.directory.join("zds.sock")
    }

    /// The directory of its pins.
    #[must_use]
    pub fn pin_root(&self) -> &Path {
        &self.pin_root
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(self.directory.join("agent.log")).unwrap_or_default()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Ends it as a node's crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// [`Error::Late`] if it does not.
    pub fn terminate(&mut self) -> Result<(), Error> {
        if let Some(process) = &mut self.process {
            process
                .signal(Signal::SIGTERM)
                .map_err(at(Path::new("weir agent")))?;
            let ended = eventually(END, || process.child().try_wait().ok().flatten());
            ended.map_err(|source| Error::Late {
                what: "the agent does not end".to_owned(),
                source,
                output: fs::read_to_string(self.directory.join("agent.log")).unwrap_or_default(),
            })?;
        }
        self.process = None;
        Ok(())
    }

    /// Kills it and removes what it has left in the kernel.
    pub(super) fn end(&mut self) {
        self.kill();
        // What is left is found by the residue check.
        fs::remove_dir_all(&self.pin_root).unwrap_or_default();
    }
}
