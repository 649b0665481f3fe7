//! One call, from what the runtime says to what it is answered.

use std::fs::File;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use crate::call::{Call, Container, Variables};
use crate::client::{self, AskError};
use crate::config::{self, Config};
use crate::failure::{Code, Failure};
use crate::last_word::LastWord;
use crate::protocol::{Answer, Attachment, Command, Outcome as Said, Request};
use crate::version;

/// How long an agent that is away is waited for: one that is being replaced is back by then, and for the others
/// kubelet calls again.
const AWAY_PATIENCE: Duration = Duration::from_secs(3);
const AWAY_PAUSE: Duration = Duration::from_millis(50);

/// What the runtime is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// For stdout.
    pub output: String,
    /// The exit code.
    pub exit: u8,
}

impl Outcome {
    /// An error object.
    #[must_use]
    pub fn failed(version: &str, failure: &Failure) -> Self {
        Self {
            output: failure.object(version),
            exit: 1,
        }
    }
}

/// The way to the agent: [`client::ask`], or what a test puts in its place.
pub type Ask<'a> = dyn Fn(&Path, &Request, Option<&File>, Instant) -> Result<Answer, AskError> + 'a;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions<'a> {
    cni_version: &'a str,
    supported_versions: [&'static str; version::SUPPORTED.len()],
}

/// Does what the runtime wants.
#[must_use]
pub fn run(variables: &Variables<'_>, input: &[u8]) -> Outcome {
    run_with(variables, input, &client::ask)
}

/// The same, asking the agent in another way.
#[must_use]
pub fn run_with(variables: &Variables<'_>, input: &[u8], ask: &Ask<'_>) -> Outcome {
    let done = Call::read(variables).and_then(|call| perform(&call, input, ask));
    match done {
        Ok(output) => Outcome { output, exit: 0 },
        Err(failure) => Outcome::failed(&spoken(input), &failure),
    }
}

/// The version that is answered in, which only some answers name.
fn spoken(input: &[u8]) -> String {
    let named = config::version_of(input).filter(|named| version::is_supported(named));
    named.unwrap_or_else(|| version::NEWEST.to_owned())
}

fn perform(call: &Call, input: &[u8], ask: &Ask<'_>) -> Result<String, Failure> {
    if *call == Call::Version {
        return Ok(versions(&spoken(input)));
    }
    let config = Config::read(input)?;
    match call {
        Call::Add(container) => add(container, &config, ask),
        Call::Check(container) => check(container, &config, ask).map(|()| String::new()),
        Call::Del(container) => {
            del(container, &config, ask);
            Ok(String::new())
        }
        Call::Gc => {
            gc(&config, ask);
            Ok(String::new())
        }
        // An agent that is away is no reason to say no: pods outside of the mesh can be added without it, and a runtime
        // that hears no starts nothing at all, the agent included.
        Call::Status | Call::Version => Ok(String::new()),
    }
}

fn versions(version: &str) -> String {
    let versions = Versions {
        cni_version: version,
        supported_versions: version::SUPPORTED,
    };
    // Text cannot fail to be JSON.
    serde_json::to_string(&versions).unwrap_or_default()
}

fn add(container: &Container, config: &Config<'_>, ask: &Ask<'_>) -> Result<String, Failure> {
    let previous = config.previous()?.to_owned();
    let Some(pod) = asked_about(container, config) else {
        return Ok(previous);
    };
    let netns = open_netns(container)?;
    match ask_for_start(config, &pod, &netns, ask) {
        Ok(Some(answer)) => permission(&pod, answer).map(|()| previous),
        Ok(None) => Ok(previous),
        Err(error) => Err(no_answer(&pod, config, &error)),
    }
}

/// The agent's answer, or nothing if it is away and the pod may start without it.
fn ask_for_start(
    config: &Config<'_>,
    pod: &Attachment,
    netns: &File,
    ask: &Ask<'_>,
) -> Result<Option<Answer>, AskError> {
    let request = Request::new(Command::Add(pod.clone()));
    let begun = Instant::now();
    loop {
        match ask(&config.socket, &request, Some(netns), begun + config.timeout) {
            Ok(answer) => return Ok(Some(answer)),
            Err(AskError::Away(_) | AskError::Ended) if may_start_alone(config, pod) => return Ok(None),
            Err(AskError::Away(_) | AskError::Ended)
                if begun.elapsed() < AWAY_PATIENCE.min(config.timeout) =>
            {
                sleep(AWAY_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

fn may_start_alone(config: &Config<'_>, pod: &Attachment) -> bool {
    LastWord::read(&config.last_word()).is_some_and(|word| word.is_outside(&pod.namespace))
}

fn check(container: &Container, config: &Config<'_>, ask: &Ask<'_>) -> Result<(), Failure> {
    config.previous()?;
    let Some(pod) = asked_about(container, config) else {
        return Ok(());
    };
    let netns = open_netns(container)?;
    let request = Request::new(Command::Check(pod.clone()));
    let deadline = Instant::now() + config.timeout;
    match ask(&config.socket, &request, Some(&netns), deadline) {
        Ok(answer) => permission(&pod, answer),
        // What was captured stays so without the agent.
        Err(AskError::Away(_) | AskError::Ended) => Ok(()),
        Err(error) => Err(no_answer(&pod, config, &error)),
    }
}

/// A pod ends whatever becomes of the question: an agent that has not heard of it finds out by itself.
fn del(container: &Container, config: &Config<'_>, ask: &Ask<'_>) {
    if let Some(pod) = asked_about(container, config) {
        let netns = open_netns(container).ok();
        let request = Request::new(Command::Del(pod.clone()));
        let deadline = Instant::now() + config.timeout;
        if let Err(error) = ask(&config.socket, &request, netns.as_ref(), deadline) {
            tell(&pod, &error);
        }
    }
}

/// A runtime that lists nothing (a list that is empty is a list) has not said that all pods have gone.
fn gc(config: &Config<'_>, ask: &Ask<'_>) {
    let Some(sandboxes) = config.sandboxes.clone() else {
        eprintln!("weir-cni: GC without cni.dev/valid-attachments: nothing is let go");
        return;
    };
    let request = Request::new(Command::Gc {
        network: config.network.clone(),
        sandboxes,
    });
    let deadline = Instant::now() + config.timeout;
    if let Err(error) = ask(&config.socket, &request, None, deadline) {
        eprintln!("weir-cni: GC: {error}");
    }
}

fn tell(pod: &Attachment, error: &AskError) {
    eprintln!("weir-cni: DEL of pod {}/{}: {error}", pod.namespace, pod.name);
}

/// What the agent is asked about, unless nobody needs to be asked.
fn asked_about(container: &Container, config: &Config<'_>) -> Option<Attachment> {
    let pod = container.pod.as_ref()?;
    if config.exempt.covers(&pod.namespace, &pod.name) {
        return None;
    }
    Some(Attachment {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        sandbox: container.sandbox.clone(),
        interface: container.interface.clone(),
        network: config.network.clone(),
    })
}

/// Opened here and handed over, because the agent may not see the path. Without waiting, because a wrong path may
/// lead to a pipe.
fn open_netns(container: &Container) -> Result<File, Failure> {
    let path = container.netns.as_deref().unwrap_or(Path::new(""));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(netns) => Ok(File::from(netns)),
        Err(error) => {
            let message = format!("CNI_NETNS is {}, which cannot be opened", path.display());
            Err(Failure::new(Code::Environment, message).because(error))
        }
    }
}

/// Whether the agent lets the pod go on.
fn permission(pod: &Attachment, answer: Answer) -> Result<(), Failure> {
    let Attachment { namespace, name, .. } = pod;
    let (code, what, why) = match answer.outcome {
        Said::Enrolled | Said::Outside { .. } | Said::Done => return Ok(()),
        Said::Later { why } => (Code::TryAgainLater, "cannot start yet", why),
        Said::Refused { why } => (Code::Refused, "cannot be brought into the mesh", why),
        Said::NotCaptured { why } => (Code::NotCaptured, "is not captured", why),
    };
    Err(Failure::new(code, format!("pod {namespace}/{name} {what}")).because(why))
}

fn no_answer(pod: &Attachment, config: &Config<'_>, error: &AskError) -> Failure {
    let Attachment { namespace, name, .. } = pod;
    let socket = config.socket.display();
    let (code, message) = match error {
        AskError::Away(_) | AskError::Ended | AskError::Late => (
            Code::TryAgainLater,
            format!("pod {namespace}/{name} waits for the weir agent, which does not answer on {socket}"),
        ),
        AskError::Io { .. } => (Code::Io, format!("the weir agent cannot be asked on {socket}")),
        AskError::Answer(_) | AskError::Version(_) => (
            Code::Answer,
            "the weir agent is of another version than this plugin: restart it, it installs its own"
                .to_owned(),
        ),
    };
    Failure::new(code, message).because(format!(
        "{error}; without the agent nobody knows whether the pod is in the mesh, so it does not start"
    ))
}
