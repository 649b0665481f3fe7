//! What a runtime says in the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::{Code, Failure};

/// A variable of the environment, by its name.
pub type Variables<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Longest name of an interface that Linux takes.
const LONGEST_INTERFACE: usize = 15;
/// Longest name of a pod or namespace that Kubernetes takes.
const LONGEST_NAME: usize = 253;

/// What the runtime wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `ADD`: a container is about to start.
    Add(Container),
    /// `DEL`: its network is taken down.
    Del(Container),
    /// `CHECK`: is it as `ADD` has left it?
    Check(Container),
    /// `GC`: the configuration lists all containers that there are.
    Gc,
    /// `STATUS`: could an `ADD` work now?
    Status,
    /// `VERSION`: which versions are spoken?
    Version,
}

/// A container, as far as its network is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The pod that it is the sandbox of; nothing for containers of no pod.
    pub pod: Option<PodArguments>,
    /// The runtime's id.
    pub sandbox: String,
    /// The interface that the runtime speaks of.
    pub interface: String,
    /// Its network namespace; absent only at `DEL`.
    pub netns: Option<PathBuf>,
}

/// A pod in `CNI_ARGS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodArguments {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, where the runtime tells it.
    pub uid: Option<String>,
}

impl Call {
    /// Reads the variables.
    ///
    /// # Errors
    /// [`Code::Environment`] names the variable.
    pub fn read(variables: &Variables<'_>) -> Result<Self, Failure> {
        let command = required(variables, "CNI_COMMAND")?;
        match command.as_str() {
            "ADD" => Ok(Self::Add(Container::with_netns(variables)?)),
            "CHECK" => Ok(Self::Check(Container::with_netns(variables)?)),
            "DEL" => Ok(Self::Del(Container::read(variables)?)),
            "GC" => Ok(Self::Gc),
            "STATUS" => Ok(Self::Status),
            "VERSION" => Ok(Self::Version),
            _ => {
                Err(wrong("CNI_COMMAND", &command)
                    .because("ADD, DEL, CHECK, GC, STATUS and VERSION are known"))
            }
        }
    }
}

impl Container {
    fn with_netns(variables: &Variables<'_>) -> Result<Self, Failure> {
        required(variables, "CNI_NETNS")?;
        Self::read(variables)
    }

    fn read(variables: &Variables<'_>) -> Result<Self, Failure> {
        let sandbox = required(variables, "CNI_CONTAINERID")?;
        if !is_container_id(&sandbox) {
            return Err(wrong("CNI_CONTAINERID", &sandbox)
                .because("letters, digits, '_', '.' and '-' are allowed, the first a letter or digit"));
        }
        let interface = required(variables, "CNI_IFNAME")?;
        if !is_interface(&interface) {
            return Err(wrong("CNI_IFNAME", &interface)
                .because("an interface has a name of 1 to 15 characters without '/', ':' and spaces"));
        }
        Ok(Self {
            pod: pod(&optional(variables, "CNI_ARGS")?.unwrap_or_default())?,
            sandbox,
            interface,
            netns: optional(variables, "CNI_NETNS")?.map(PathBuf::from),
        })
    }
}

fn is_container_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    text.chars().next().is_some_and(is_plain) && text.chars().all(|c| is_plain(c) || "_.-".contains(c))
}

fn is_interface(text: &str) -> bool {
    let is_bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    text.len() <= LONGEST_INTERFACE && text != "." && text != ".." && !text.contains(is_bad)
}

/// The pod in `CNI_ARGS`, which has the form `KEY=VALUE;KEY=VALUE`.
fn pod(arguments: &str) -> Result<Option<PodArguments>, Failure> {
    let (mut namespace, mut name, mut uid) = (None, None, None);
    for pair in arguments.split(';').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(wrong("CNI_ARGS", arguments).because(format!("{pair:?} is no KEY=VALUE")));
        };
        match key {
            "K8S_POD_NAMESPACE" => namespace = Some(value.to_owned()),
            "K8S_POD_NAME" => name = Some(value.to_owned()),
            "K8S_POD_UID" => uid = Some(value.to_owned()).filter(|uid| !uid.is_empty()),
            _ => {}
        }
    }
    let (Some(namespace), Some(name)) = (&namespace, &name) else {
        return match (namespace, name) {
            (None, None) => Ok(None),
            _ => {
                Err(wrong("CNI_ARGS", arguments)
                    .because("K8S_POD_NAMESPACE and K8S_POD_NAME belong together"))
            }
        };
    };
    for value in [namespace, name].into_iter().chain(&uid) {
        if value.is_empty() || value.len() > LONGEST_NAME || !value.chars().all(|c| c.is_ascii_graphic()) {
            return Err(wrong("CNI_ARGS", arguments).because(format!("{value:?} is no name or uid of a pod")));
        }
    }
    Ok(Some(PodArguments {
        namespace: namespace.clone(),
        name: name.clone(),
        uid,
    }))
}

fn required(variables: &Variables<'_>, name: &str) -> Result<String, Failure> {
    optional(variables, name)?.ok_or_else(|| {
        Failure::new(Code::Environment, format!("{name} is not set"))
            .because("weir-cni is called by a container runtime, with the variables of the CNI specification")
    })
}

/// An empty variable is none.
fn optional(variables: &Variables<'_>, name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = variables(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match value.into_string() {
        Ok(value) => Ok(Some(value)),
        Err(value) => Err(wrong(name, &value.to_string_lossy()).because("it is not UTF-8")),
    }
}

fn wrong(name: &str, value: &str) -> Failure {
    Failure::new(Code::Environment, format!("{name} is {value:?}"))
}

#[cfg(test)]
mod tests;
