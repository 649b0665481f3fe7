//! One file of CNI configuration.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

/// What a file of configuration may be long; real ones have a few kilobytes.
pub(super) const LONGEST: u64 = 1 << 20;

/// A network as a file describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The file.
    pub path: PathBuf,
    /// Its name.
    pub name: Option<String>,
    /// The version of the specification that it is written for.
    pub version: Option<String>,
    /// The plugins, in the order in which they are called.
    pub plugins: Vec<Plugin>,
}

/// One plugin of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plugin {
    /// Its type, which is the name of its program.
    pub kind: String,
    /// The mode that it is told (`bridge`, `l2`, …).
    pub mode: Option<String>,
    /// The interface of the node that it is told: parent or bridge.
    pub interface: Option<String>,
    /// Who gives out addresses.
    pub ipam: Option<String>,
    /// Plugins that it calls itself, as Multus and flannel do.
    pub delegates: Vec<Plugin>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The directory cannot be listed.
    #[error("CNI configuration {path}: {source}; is it the directory that the container runtime uses?")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("CNI configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file is too long to be configuration.
    #[error("CNI configuration {path}: it is longer than {LONGEST} bytes; is it configuration at all?")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file is not JSON, or only half of it.
    #[error("CNI configuration {path}: {source}; if it is being written, it is read again when that is done")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        source: serde_json::Error,
    },
    /// A file holds something else than an object.
    #[error("CNI configuration {path}: it is JSON, but no object")]
    NotAnObject {
        /// The file.
        path: PathBuf,
    },
    /// A list of plugins is missing or empty.
    #[error("CNI configuration {path}: a .conflist has to have a list \"plugins\" that is not empty")]
    NoPlugins {
        /// The file.
        path: PathBuf,
    },
    /// A plugin has no type.
    #[error(
        "CNI configuration {path}: plugin {number} has no \"type\", which has to be the name of a program"
    )]
    NoType {
        /// The file.
        path: PathBuf,
        /// Which plugin, from 1.
        number: usize,
    },
}

/// Reads the text of a file; what kind it is, its name says, as it does to a container runtime.
///
/// # Errors
/// [`ConfigError`] for everything that a runtime would refuse as well.
pub fn parse(path: &Path, text: &[u8]) -> Result<Network, ConfigError> {
    let path = path.to_owned();
    if u64::try_from(text.len()).is_ok_and(|length| length > LONGEST) {
        return Err(ConfigError::TooLong { path });
    }
    let value: Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(source) => return Err(ConfigError::Json { path, source }),
    };
    let Value::Object(object) = value else {
        return Err(ConfigError::NotAnObject { path });
    };
    let is_list = path.extension().is_some_and(|extension| extension == "conflist");
    let plugins = if is_list {
        listed(&object)
    } else {
        Some(vec![plugin(&object)])
    };
    let Some(plugins) = plugins.filter(|plugins| !plugins.is_empty()) else {
        return Err(ConfigError::NoPlugins { path });
    };
    if let Some(at) = plugins.iter().position(Option::is_none) {
        return Err(ConfigError::NoType { path, number: at + 1 });
    }
    Ok(Network {
        name: text_of(&object, "name"),
        version: text_of(&object, "cniVersion"),
        plugins: plugins.into_iter().flatten().collect(),
        path,
    })
}

fn listed(object: &Map<String, Value>) -> Option<Vec<Option<Plugin>>> {
    let plugins = object.get("plugins")?.as_array()?;
    Some(plugins.iter().map(|value| plugin(value.as_object()?)).collect())
}

fn plugin(object: &Map<String, Value>) -> Option<Plugin> {
    let kind = text_of(object, "type").filter(|kind| !kind.is_empty())?;
    let interface = ["master", "bridge", "device", "deviceID"]
        .iter()
        .find_map(|field| text_of(object, field));
    Some(Plugin {
        kind,
        mode: text_of(object, "mode"),
        interface,
        ipam: object
            .get("ipam")
            .and_then(Value::as_object)
            .and_then(|ipam| text_of(ipam, "type")),
        delegates: delegates(object),
    })
}

/// Multus has a list of networks, flannel one plugin, whose type may be left out.
fn delegates(object: &Map<String, Value>) -> Vec<Plugin> {
    let many = object
        .get("delegates")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let networks = many.filter_map(Value::as_object).flat_map(|network| {
        listed(network)
            .unwrap_or_else(|| vec![plugin(network)])
            .into_iter()
            .flatten()
    });
    let one = object.get("delegate").and_then(Value::as_object).and_then(plugin);
    networks.chain(one).collect()
}

fn text_of(object: &Map<String, Value>, field: &str) -> Option<String> {
    object.get(field).and_then(Value::as_str).map(str::to_owned)
}

impl Plugin {
    /// This plugin and all that it calls.
    pub fn with_delegates(&self) -> impl Iterator<Item = &Self> {
        let mut left = vec![self];
        std::iter::from_fn(move || {
            let next = left.pop()?;
            left.extend(next.delegates.iter().rev());
            Some(next)
        })
    }
}

impl Network {
    /// All plugins, those that others call among them.
    pub fn all_plugins(&self) -> impl Iterator<Item = &Plugin> {
        self.plugins.iter().flat_map(Plugin::with_delegates)
    }
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, parse};
    use std::path::Path;

    fn read(name: &str, text: &str) -> Result<super::Network, ConfigError> {
        parse(Path::new(name), text.as_bytes())
    }

    #[test]
    fn a_list_has_its_plugins_in_order() {
        let text = r#"{"cniVersion":"1.0.0","name":"k8s-pod-network","plugins":[
            {"type":"calico","ipam":{"type":"calico-ipam"}},{"type":"portmap"}]}"#;
        let network = read("10-calico.conflist", text).unwrap();
        assert_eq!(network.name.as_deref(), Some("k8s-pod-network"));
        let kinds: Vec<_> = network
            .plugins
            .iter()
            .map(|plugin| plugin.kind.as_str())
            .collect();
        assert_eq!(kinds, ["calico", "portmap"]);
        assert_eq!(network.plugins[0].ipam.as_deref(), Some("calico-ipam"));
    }

    #[test]
    fn a_single_plugin_tells_parent_and_mode() {
        let network = read(
            "20-lan.conf",
            r#"{"type":"macvlan","master":"eth0","mode":"bridge"}"#,
        )
        .unwrap();
        let plugin = &network.plugins[0];
        assert_eq!(
            (plugin.mode.as_deref(), plugin.interface.as_deref()),
            (Some("bridge"), Some("eth0"))
        );
    }

    #[test]
    fn those_that_are_called_by_others_are_found() {
        let text = r#"{"type":"multus","name":"m","delegates":[
            {"name":"d","plugins":[{"type":"flannel","delegate":{"type":"bridge"}},{"type":"portmap"}]},
            {"type":"macvlan"},{"type":7},"text"]}"#;
        let network = read("00-multus.conf", text).unwrap();
        let kinds: Vec<_> = network.all_plugins().map(|plugin| plugin.kind.as_str()).collect();
        assert_eq!(kinds, ["multus", "flannel", "bridge", "portmap", "macvlan"]);
    }

    #[test]
    fn what_a_runtime_refuses_is_an_error_that_names_the_file() {
        for (name, text, expected) in [
            ("a.conf", "", "EOF while parsing"),
            ("a.conf", r#"{"type":"bri"#, "EOF while parsing"),
            ("a.conf", "[]", "no object"),
            ("a.conf", "{}", "plugin 1 has no \"type\""),
            ("a.conf", r#"{"type":""}"#, "plugin 1 has no \"type\""),
            ("a.conflist", r#"{"type":"bridge"}"#, "has to have a list"),
            ("a.conflist", r#"{"plugins":[]}"#, "has to have a list"),
            ("a.conflist", r#"{"plugins":{}}"#, "has to have a list"),
            (
                "a.conflist",
                r#"{"plugins":[{"type":"a"},{"type":1}]}"#,
                "plugin 2 has no \"type\"",
            ),
            ("a.conflist", r#"{"plugins":[[]]}"#, "plugin 1 has no \"type\""),
        ] {
            let error = read(name, text).unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains(name),
                "{text}: {error}"
            );
        }
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(matches!(read("a.conf", &deep), Err(ConfigError::Json { .. })));
        let long = " ".repeat((1 << 20) + 1);
        assert!(matches!(read("a.conf", &long), Err(ConfigError::TooLong { .. })));
    }
}
