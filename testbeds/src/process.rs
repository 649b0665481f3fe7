//! Processes that start inside a namespace and do not outlive their guard.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::netns::Netns;

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be executed.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A running process; dropping it kills the process and its group, and reaps it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    // A child's parent-death signal is about the thread that forked it, so that thread stays until the end.
    forker: Option<Forker>,
}

#[derive(Debug)]
struct Forker {
    release: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Process {
    pub(crate) fn start(netns: &Netns, command: Command) -> Result<Self, Error> {
        Self::start_on(command, |fork| netns.thread(fork))
    }

    /// Starts a process where we are.
    pub fn spawn(command: Command) -> Result<Self, Error> {
        Self::start_on(command, thread::spawn)
    }

    fn start_on(
        mut command: Command,
        on: impl FnOnce(Box<dyn FnOnce() + Send>) -> thread::JoinHandle<()>,
    ) -> Result<Self, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        let (report, started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let thread = on(Box::new(move || {
            let started = command.process_group(0).spawn();
            // Its own copies of pipe ends would keep the child from seeing end of file.
            drop(command);
            if report.send(started).is_ok() {
                // Ends when the guard drops the sender.
                released.recv().unwrap_or_default();
            }
        }));
        let child = started
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that starts it ended early")))
            .map_err(|source| Error::Start { program, source })?;
        Ok(Self {
            child,
            forker: Some(Forker { release, thread }),
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child, for its pipes and for waiting.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    /// Waits until the process ends by itself.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whoever has ended already needs no signal, and nothing else can be done about a failure.
        let running = matches!(self.child.try_wait(), Ok(None));
        if running {
            killpg(self.pid(), Signal::SIGKILL).unwrap_or_default();
            self.child.wait().map(drop).unwrap_or_default();
        }
        if let Some(Forker { release, thread }) = self.forker.take() {
            drop(release);
            thread.join().unwrap_or_default();
        }
    }
}
