//! The container runtime's side of the configuration.

use std::collections::BTreeSet;
use std::path::PathBuf;

use weir_agent::cni_conf::{self, InstallConfig};
use weir_agent::pods::select::Rules;
use weir_agent::run::config::CniConfig;
use weir_cni::{last_word, protocol};

use super::config::ConfigError;
use super::settings::Settings;

/// The runtime's directory of network configurations.
pub const CONF_DIR: &str = "/etc/cni/net.d";
/// The runtime's directory of plugins.
pub const BIN_DIR: &str = "/opt/cni/bin";

/// What the settings say of it.
pub(super) fn resolve(settings: &Settings, rules: &Rules) -> Result<Option<CniConfig>, ConfigError> {
    let installs = settings.install_cni.unwrap_or(false);
    let socket = match &settings.cni_socket {
        Some(socket) => socket.clone(),
        None if installs => protocol::SOCKET.into(),
        None => return Ok(None),
    };
    let install = match installs {
        true => Some(install(settings, rules, socket.clone())?),
        false => None,
    };
    Ok(Some(CniConfig {
        socket,
        install,
        start_without_agent: settings.start_without_agent.unwrap_or(true),
    }))
}

fn install(settings: &Settings, rules: &Rules, socket: PathBuf) -> Result<InstallConfig, ConfigError> {
    let exempt_pods = match &settings.cni_exempt {
        Some(pods) => exempt(pods)?,
        None => default_exempt(&rules.system_namespace),
    };
    Ok(InstallConfig {
        conf_dir: settings.cni_conf_dir.clone().unwrap_or_else(|| CONF_DIR.into()),
        bin_dir: settings.cni_bin_dir.clone().unwrap_or_else(|| BIN_DIR.into()),
        plugin: settings.cni_plugin.clone().unwrap_or_else(beside_us),
        last_word: last_word::beside(&socket),
        socket,
        exempt_namespaces: rules.excluded_namespaces.clone(),
        exempt_pods,
        take_over: settings.take_over.unwrap_or(false),
    })
}

fn exempt(pods: &[String]) -> Result<BTreeSet<String>, ConfigError> {
    let pods = pods.iter().filter(|pod| !pod.is_empty());
    pods.map(|pod| match pod.split_once('/') {
        Some((namespace, _)) if !namespace.is_empty() => Ok(pod.clone()),
        _ => Err(ConfigError::OutOfRange {
            setting: "cni-exempt",
            value: pod.clone(),
            wanted: "NAMESPACE/BEGINNING-OF-NAME, such as istio-system/ztunnel-",
        }),
    })
    .collect()
}

/// Without these no agent could ever start again, nor the proxy that all others wait for.
fn default_exempt(system: &str) -> BTreeSet<String> {
    BTreeSet::from([
        format!("{system}/ztunnel-"),
        format!("{system}/weir-"),
        "weir-system/weir-".to_owned(),
        "kube-system/weir-".to_owned(),
    ])
}

fn beside_us() -> PathBuf {
    let us = std::env::current_exe().unwrap_or_default();
    us.with_file_name(cni_conf::PLUGIN)
}
