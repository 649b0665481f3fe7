//! From settings to the agent's configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_agent::datapath::{Hook, Sizes};
use weir_agent::pods::netns::HOST_NETNS;
use weir_agent::pods::select::{EnablementSelector, EnablementSelectorsError, Rules};
use weir_agent::run::config::{AgentConfig, ContractMode, GuardMode, MacvlanOutbound, ProbeMode};
use weir_common::names;

use super::settings::Settings;
use super::{cni, source};

const ZDS_SOCKET: &str = "/var/run/ztunnel/ztunnel.sock";
/// Where the operator's commands find the agent.
pub const ADMIN_SOCKET: &str = "/var/run/weir/admin.sock";
const HTTP_PORT: u16 = 15014;
const VERIFY_INTERVAL: Duration = Duration::from_secs(30);
/// More often than this the verification itself would be the load.
const SHORTEST_VERIFY_INTERVAL: Duration = Duration::from_secs(1);
/// The kernel wants whole pages.
const SMALLEST_TRACE_BUFFER: u32 = 4096;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration file is wrong.
    #[error("configuration file {}: {source}; its keys are the flags of `weir agent`, without the dashes in front", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key.
        source: serde_yaml_ng::Error,
    },
    /// The selectors are wrong.
    #[error("{}: {source}", path.display())]
    Selectors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: EnablementSelectorsError,
    },
    /// Nobody says which pods there are.
    #[error(transparent)]
    Source(#[from] source::SourceError),
    /// A number is out of range.
    #[error("{setting} is {value}: {wanted}")]
    OutOfRange {
        /// The flag or key.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What would be right.
        wanted: &'static str,
    },
}

/// Reads the configuration file, if one is named.
pub fn read_file(path: Option<&Path>) -> Result<Settings, ConfigError> {
    let Some(path) = path else {
        return Ok(Settings::default());
    };
    let text = read(path)?;
    // An empty file says nothing, which is fine.
    let settings: Option<Settings> = serde_yaml_ng::from_str(&text).map_err(|source| ConfigError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(settings.unwrap_or_default())
}

/// Reads the selectors, if a file of them is named.
pub fn read_selectors(path: Option<&Path>) -> Result<Option<Vec<EnablementSelector>>, ConfigError> {
    path.map(|path| {
        EnablementSelector::parse_list(&read(path)?).map_err(|source| ConfigError::Selectors {
            path: path.to_owned(),
            source,
        })
    })
    .transpose()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The configuration, with defaults where the settings say nothing.
pub fn resolve(
    settings: Settings,
    selectors: Option<Vec<EnablementSelector>>,
) -> Result<AgentConfig, ConfigError> {
    let sizes = sizes(&settings)?;
    let source = source::resolve(&settings)?;
    let verify_interval = settings.verify_interval.map_or(VERIFY_INTERVAL, |span| span.0);
    if verify_interval < SHORTEST_VERIFY_INTERVAL {
        return Err(ConfigError::OutOfRange {
            setting: "verify-interval",
            value: format!("{verify_interval:?}"),
            wanted: "at least 1s",
        });
    }
    let rules = rules(
        settings.exclude_namespace.clone(),
        settings.system_namespace.clone(),
        selectors,
    );
    Ok(AgentConfig {
        source,
        cni: cni::resolve(&settings, &rules)?,
        zds_socket: settings.zds_socket.unwrap_or_else(|| ZDS_SOCKET.into()),
        admin_socket: settings.admin_socket.unwrap_or_else(|| ADMIN_SOCKET.into()),
        http_address: settings.http_address.map_or_else(
            || Some((std::net::Ipv6Addr::UNSPECIFIED, HTTP_PORT).into()),
            |address| address.0,
        ),
        pod_metrics: settings.pod_metrics.unwrap_or(false),
        pin_root: settings.pin_root.unwrap_or_else(|| names::PIN_ROOT.into()),
        layout: settings.layout.unwrap_or(names::LAYOUT_VERSION),
        cgroup: settings.cgroup,
        pods_cgroup: settings.pods_cgroup,
        host_netns: settings.host_netns.unwrap_or_else(|| HOST_NETNS.into()),
        cni_conf_dir: settings.cni_conf_dir.unwrap_or_else(|| cni::CONF_DIR.into()),
        sizes,
        hook: settings.interface_hook.unwrap_or_else(Hook::of_this_kernel),
        rules,
        dns_capture: settings.dns_capture.unwrap_or(true),
        guard: settings.guard.unwrap_or(GuardMode::Audit),
        contract: settings.contract.unwrap_or(ContractMode::Auto),
        ztunnel_netns: settings.ztunnel_netns,
        macvlan_outbound: settings.macvlan_outbound.unwrap_or(MacvlanOutbound::Socket),
        fail_open: settings.fail_open.unwrap_or(false),
        probes: settings.probes.unwrap_or(ProbeMode::OutsidePods),
        verify_interval,
        remove_on_exit: settings.remove_on_exit.unwrap_or(false),
    })
}

fn rules(
    excluded: Option<Vec<String>>,
    system: Option<String>,
    selectors: Option<Vec<EnablementSelector>>,
) -> Rules {
    let defaults = Rules::default();
    Rules {
        excluded_namespaces: excluded.map_or(defaults.excluded_namespaces, |names| {
            names.into_iter().filter(|name| !name.is_empty()).collect()
        }),
        system_namespace: system.unwrap_or(defaults.system_namespace),
        selectors: selectors.unwrap_or(defaults.selectors),
    }
}

fn sizes(settings: &Settings) -> Result<Sizes, ConfigError> {
    let defaults = Sizes::default();
    let event_bytes = settings.trace_buffer.unwrap_or(defaults.event_bytes);
    if !event_bytes.is_power_of_two() || event_bytes < SMALLEST_TRACE_BUFFER {
        return Err(ConfigError::OutOfRange {
            setting: "trace-buffer",
            value: event_bytes.to_string(),
            wanted: "a power of two, at least 4096",
        });
    }
    Ok(Sizes {
        pods: at_least_one("max-pods", settings.max_pods, defaults.pods)?,
        addresses_per_pod: at_least_one(
            "max-addresses-per-pod",
            settings.max_addresses_per_pod,
            defaults.addresses_per_pod,
        )?,
        probes: at_least_one("max-probes", settings.max_probes, defaults.probes)?,
        connections: at_least_one("max-connections", settings.max_connections, defaults.connections)?,
        ztunnels: at_least_one("max-ztunnels", settings.max_ztunnels, defaults.ztunnels)?,
        rules: at_least_one("max-rules", settings.max_rules, defaults.rules)?,
        event_bytes,
    })
}

fn at_least_one(setting: &'static str, value: Option<u32>, default: u32) -> Result<u32, ConfigError> {
    match value.unwrap_or(default) {
        0 => Err(ConfigError::OutOfRange {
            setting,
            value: "0".to_owned(),
            wanted: "at least 1",
        }),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests;
