//! What is installed where.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::PLUGIN;

/// What is installed where, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallConfig {
    /// The runtime's directory of network configurations.
    pub conf_dir: PathBuf,
    /// The runtime's directory of plugins.
    pub bin_dir: PathBuf,
    /// The plugin to be installed.
    pub plugin: PathBuf,
    /// The socket that the plugin asks on; the same path for the agent and for the node.
    pub socket: PathBuf,
    /// Where the agent's last word stands.
    pub last_word: PathBuf,
    /// Namespaces whose pods never wait for the agent.
    pub exempt_namespaces: BTreeSet<String>,
    /// Pods that never wait for the agent: `namespace/beginning-of-name`.
    pub exempt_pods: BTreeSet<String>,
    /// Istio's own plugin is taken out of the chain.
    pub take_over: bool,
}

/// The plugin's entry in the chain.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    r#type: &'static str,
    socket: &'a PathBuf,
    last_word: &'a PathBuf,
    exempt: Exempt<'a>,
}

#[derive(Serialize)]
struct Exempt<'a> {
    namespaces: &'a BTreeSet<String>,
    pods: &'a BTreeSet<String>,
}

impl InstallConfig {
    /// The plugin's entry in the chain.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub(super) fn entry(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Entry {
            r#type: PLUGIN,
            socket: &self.socket,
            last_word: &self.last_word,
            exempt: Exempt {
                namespaces: &self.exempt_namespaces,
                pods: &self.exempt_pods,
            },
        })
    }
}
