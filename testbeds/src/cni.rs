//! A container runtime, as far as pods' networks are concerned: it takes the first configuration of a directory and
//! calls the plugins of its chain, each with what those before it have done.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::netns::Netns;

/// Where Debian's `containernetworking-plugins` are.
pub const DEBIAN: &str = "/usr/lib/cni";

/// A plugin that has nothing to do, because the world has wired the pod.
const WIRED: &str = r#"#!/bin/sh
[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}],"ips":[],"dns":{}}'
exit 0
"#;

/// The interface that pods get.
const INTERFACE: &str = "eth0";

/// Why a pod has no network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no configuration.
    #[error("{}: no network configuration", .0.display())]
    NoConfiguration(PathBuf),
    /// A configuration is none.
    #[error("{text:?} is not what it should be: {source}")]
    Json {
        /// The text.
        text: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A plugin of the chain is not installed.
    #[error("the plugin {0} is missing; Debian's are in the package containernetworking-plugins")]
    NoPlugin(String),
    /// A plugin said no.
    #[error("{plugin} answers {object}")]
    Refused {
        /// The plugin.
        plugin: String,
        /// Its error object.
        object: Value,
    },
}

impl Error {
    /// The number in the error object.
    pub fn code(&self) -> Option<u64> {
        match self {
            Self::Refused { object, .. } => object["code"].as_u64(),
            _ => None,
        }
    }
}

/// The runtime.
#[derive(Clone, Debug)]
pub struct Runtime {
    node: Netns,
    configurations: PathBuf,
    plugins: Vec<PathBuf>,
}

/// A pod's sandbox.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The runtime's id for it.
    pub id: String,
    /// The path of its network namespace.
    pub netns: PathBuf,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
}

/// Puts a plugin `wired` into a directory, for chains of pods that the world has wired.
///
/// # Errors
/// [`Error::Io`].
pub fn write_wired(directory: &Path) -> Result<(), Error> {
    let path = directory.join("wired");
    let written =
        fs::write(&path, WIRED).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)));
    written.map_err(|source| Error::Io { path, source })
}

/// Makes a configuration with a chain of `wired` and our plugin, which asks the agent on `socket`.
///
/// # Errors
/// [`Error::Io`].
pub fn write_chain(directory: &Path, socket: &Path) -> Result<(), Error> {
    let list = json!({
        "cniVersion": "1.1.0",
        "name": "test",
        "plugins": [{"type": "wired"}, {"type": "weir-cni", "socket": socket}],
    });
    let path = directory.join("10-test.conflist");
    fs::write(&path, list.to_string()).map_err(|source| Error::Io { path, source })
}

impl Runtime {
    /// A runtime on a node, with a directory of configurations and directories of plugins.
    pub fn new(node: &Netns, configurations: &Path, plugins: &[&Path]) -> Self {
        Self {
            node: node.clone(),
            configurations: configurations.to_owned(),
            plugins: plugins.iter().map(|&path| path.to_owned()).collect(),
        }
    }

    /// Connects a pod; the result is the last plugin's. As runtimes do, it takes down again what has failed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn add(&self, sandbox: &Sandbox) -> Result<Value, Error> {
        let added = self.call("ADD", sandbox);
        if added.is_err() {
            // The first error is the one worth telling.
            self.del(sandbox).ok();
        }
        added
    }

    /// Disconnects a pod.
    ///
    /// # Errors
    /// [`Error`].
    pub fn del(&self, sandbox: &Sandbox) -> Result<(), Error> {
        self.call("DEL", sandbox).map(drop)
    }

    /// Asks whether a pod is still connected.
    ///
    /// # Errors
    /// [`Error`].
    pub fn check(&self, sandbox: &Sandbox, previous: &Value) -> Result<(), Error> {
        let list = self.list()?;
        for plugin in plugins_of(&list) {
            self.exec("CHECK", &list, plugin, Some(previous), sandbox)?;
        }
        Ok(())
    }

    /// Tells all plugins which sandboxes there are.
    ///
    /// # Errors
    /// [`Error`].
    pub fn gc(&self, sandboxes: &[&Sandbox]) -> Result<(), Error> {
        let mut list = self.list()?;
        let valid: Vec<Value> = sandboxes
            .iter()
            .map(|sandbox| json!({"containerID": sandbox.id, "ifname": INTERFACE}))
            .collect();
        list["cni.dev/valid-attachments"] = json!(valid);
        let nobody = Sandbox {
            id: String::new(),
            netns: PathBuf::new(),
            namespace: String::new(),
            pod: String::new(),
            uid: String::new(),
        };
        for plugin in plugins_of(&list) {
            self.exec("GC", &list, plugin, None, &nobody)?;
        }
        Ok(())
    }

    fn call(&self, command: &str, sandbox: &Sandbox) -> Result<Value, Error> {
        let list = self.list()?;
        let mut plugins: Vec<&Value> = plugins_of(&list).collect();
        if command == "DEL" {
            plugins.reverse();
        }
        let mut previous = None;
        for plugin in plugins {
            let result = self.exec(command, &list, plugin, previous.as_ref(), sandbox)?;
            previous = result.or(previous);
        }
        Ok(previous.unwrap_or_default())
    }

    /// The first by name.
    fn list(&self) -> Result<Value, Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            |source| Error::Io { path, source }
        };
        let entries = fs::read_dir(&self.configurations).map_err(at(&self.configurations))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let is_list = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "conflist");
        let first = paths.filter(is_list).min();
        let first = first.ok_or_else(|| Error::NoConfiguration(self.configurations.clone()))?;
        parse(&fs::read_to_string(&first).map_err(at(&first))?)
    }

    fn exec(
        &self,
        command: &str,
        list: &Value,
        plugin: &Value,
        previous: Option<&Value>,
        sandbox: &Sandbox,
    ) -> Result<Option<Value>, Error> {
        let kind = plugin["type"].as_str().unwrap_or_default();
        let mut config = plugin.clone();
        for key in ["name", "cniVersion", "cni.dev/valid-attachments"] {
            if let Some(value) = list.get(key) {
                config[key] = value.clone();
            }
        }
        if let Some(previous) = previous {
            config["prevResult"] = previous.clone();
        }
        let output = self.spawn(command, kind, &config.to_string(), sandbox)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true if text.trim().is_empty() => Ok(None),
            true => parse(&text).map(Some),
            false => Err(Error::Refused {
                plugin: kind.to_owned(),
                object: parse(&text)?,
            }),
        }
    }

    fn spawn(&self, command: &str, kind: &str, input: &str, sandbox: &Sandbox) -> Result<Output, Error> {
        let mut found = self.plugins.iter().map(|directory| directory.join(kind));
        let path = found.find(|path| path.is_file());
        let path = path.ok_or_else(|| Error::NoPlugin(kind.to_owned()))?;
        let directories = self.plugins.iter().map(|path| path.display().to_string());
        let mut child = Command::new(&path);
        child
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &sandbox.id)
            .env("CNI_NETNS", &sandbox.netns)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", directories.collect::<Vec<_>>().join(":"))
            .env("CNI_ARGS", sandbox.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let run = || {
            let mut child = child.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // A plugin that has read enough closes its end.
                let written = stdin.write_all(input.as_bytes());
                written.or_else(|error| match error.kind() {
                    io::ErrorKind::BrokenPipe => Ok(()),
                    _ => Err(error),
                })?;
            }
            child.wait_with_output()
        };
        self.node.run(run).map_err(|source| Error::Io { path, source })
    }
}

impl Sandbox {
    fn arguments(&self) -> String {
        let Self {
            id,
            namespace,
            pod,
            uid,
            ..
        } = self;
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID={id};K8S_POD_UID={uid}"
        )
    }
}

fn plugins_of(list: &Value) -> impl Iterator<Item = &Value> {
    list["plugins"].as_array().into_iter().flatten()
}

fn parse(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|source| Error::Json {
        text: text.to_owned(),
        source,
    })
}
