//! What a runtime says on stdin: the network configuration, with what the plugins before this one have done.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::failure::{Code, Failure};
use crate::{last_word, protocol, version};

/// Longest configuration that is read; real ones have a few KiB.
pub const LARGEST: u64 = 4 << 20;

/// How long the agent may take for one answer, if the configuration does not say.
const TIMEOUT: Duration = Duration::from_secs(15);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(110);

/// The configuration.
#[derive(Debug)]
pub struct Config<'a> {
    /// The version that is spoken.
    pub version: String,
    /// The network's name.
    pub network: String,
    /// What the plugins before this one have done, in their words.
    pub previous: Option<&'a RawValue>,
    /// Where the agent listens.
    pub socket: PathBuf,
    last_word: Option<PathBuf>,
    /// How long the agent may take.
    pub timeout: Duration,
    /// Pods that the agent is never asked about.
    pub exempt: Exempt,
    /// At `GC`: the containers that there are, if the runtime lists them.
    pub sandboxes: Option<Vec<String>>,
}

/// Pods that start whether or not there is an agent, above all the agent itself and ztunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Exempt {
    /// All pods of these namespaces.
    pub namespaces: BTreeSet<String>,
    /// Pods of a namespace whose names begin so: `istio-system/ztunnel-`.
    pub pods: BTreeSet<String>,
}

impl Exempt {
    /// Whether the pod is exempt.
    #[must_use]
    pub fn covers(&self, namespace: &str, name: &str) -> bool {
        let begins_so = |prefix: &String| {
            prefix
                .split_once('/')
                .is_some_and(|(of, begin)| of == namespace && name.starts_with(begin))
        };
        self.namespaces.contains(namespace) || self.pods.iter().any(begins_so)
    }
}

/// Keys that are not the plugin's own belong to the runtime or to nobody, and are none of our business.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    cni_version: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    prev_result: Option<&'a RawValue>,
    socket: Option<PathBuf>,
    last_word: Option<PathBuf>,
    timeout_seconds: Option<u64>,
    #[serde(default)]
    exempt: Exempt,
    #[serde(default, rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<ValidAttachment>>,
    /// The same, as the specification called it at first.
    #[serde(default, rename = "cni.dev/attachments")]
    attachments: Option<Vec<ValidAttachment>>,
}

#[derive(Deserialize)]
struct ValidAttachment {
    #[serde(rename = "containerID")]
    container_id: String,
}

/// The version that a configuration names, as far as it can be read: errors are told in it.
#[must_use]
pub fn version_of(input: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        cni_version: String,
    }
    let versioned: Versioned = serde_json::from_slice(input).ok()?;
    Some(versioned.cni_version)
}

impl<'a> Config<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// [`Code::Decode`], [`Code::Config`] or [`Code::IncompatibleVersion`], with the place.
    pub fn read(input: &'a [u8]) -> Result<Self, Failure> {
        if input.len() as u64 > LARGEST {
            return Err(Failure::new(
                Code::Decode,
                format!("the network configuration is longer than {LARGEST} bytes"),
            ));
        }
        let written: Written<'_> = serde_json::from_slice(input).map_err(unreadable)?;
        let version = written.cni_version.unwrap_or_default();
        if !version::is_supported(&version) {
            return Err(incompatible(&version));
        }
        let Some(network) = written.name.filter(|name| !name.is_empty()) else {
            return Err(invalid("the network configuration has no name"));
        };
        let timeout = written.timeout_seconds.map_or(TIMEOUT, Duration::from_secs);
        if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
            return Err(invalid("timeoutSeconds is out of range")
                .because("1 to 110 are sensible: kubelet gives up after 120"));
        }
        if let Some(pod) = written.exempt.pods.iter().find(|pod| !pod.contains('/')) {
            return Err(invalid("exempt.pods is wrong")
                .because(format!("{pod:?} has no '/': write NAMESPACE/BEGINNING-OF-NAME")));
        }
        Ok(Self {
            version,
            network,
            previous: written.prev_result.filter(|previous| previous.get() != "null"),
            last_word: written.last_word,
            socket: written.socket.unwrap_or_else(|| protocol::SOCKET.into()),
            timeout,
            exempt: written.exempt,
            sandboxes: written.valid_attachments.or(written.attachments).map(ids),
        })
    }

    /// Where the agent's last word stands.
    #[must_use]
    pub fn last_word(&self) -> PathBuf {
        let named = self.last_word.clone();
        named.unwrap_or_else(|| last_word::beside(&self.socket))
    }

    /// What the plugins before this one have done; a chained plugin hands it on.
    ///
    /// # Errors
    /// [`Code::Config`] if there is none.
    pub fn previous(&self) -> Result<&'a str, Failure> {
        let previous = self.previous.ok_or_else(|| {
            invalid("there is no prevResult")
                .because("weir-cni is a chained plugin: put it behind the one that makes the interface")
        })?;
        if previous.get().starts_with('{') {
            Ok(previous.get())
        } else {
            Err(invalid("prevResult is no object"))
        }
    }
}

fn ids(attachments: Vec<ValidAttachment>) -> Vec<String> {
    let ids = attachments.into_iter();
    ids.map(|attachment| attachment.container_id).collect()
}

fn invalid(message: &str) -> Failure {
    Failure::new(Code::Config, message)
}

fn incompatible(version: &str) -> Failure {
    let message = match version {
        "" => "the network configuration has no cniVersion".to_owned(),
        version => format!("CNI {version} is not spoken here"),
    };
    Failure::new(Code::IncompatibleVersion, message)
        .because(format!("known: {}", version::SUPPORTED.join(", ")))
}

fn unreadable(error: serde_json::Error) -> Failure {
    let (code, message) = match error.classify() {
        Category::Data => (Code::Config, "the network configuration is wrong"),
        Category::Io | Category::Syntax | Category::Eof => {
            (Code::Decode, "the network configuration is not JSON")
        }
    };
    Failure::new(code, message).because(error)
}

#[cfg(test)]
mod tests;
