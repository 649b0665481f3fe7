//! Where the node's pods come from.

use clap::ValueEnum;
use serde::Deserialize;
use weir_agent::run::config::{KubernetesConfig, SourceConfig};

use super::settings::Settings;

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A file of pods.
    File,
    /// The Kubernetes API server.
    Kubernetes,
}

/// Nobody says which pods there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Neither a file nor a node is named.
    #[error(
        "no source of pods: in a cluster name the node with --node-name or NODE_NAME, elsewhere a file of pods with \
         --pods-file, WEIR_PODS_FILE, or pods-file in the configuration file"
    )]
    None,
    /// The file is wanted, and not named.
    #[error("the source of pods is to be a file: name it with --pods-file, or leave --source out")]
    NoFile,
    /// The node is not named.
    #[error(
        "the source of pods is to be Kubernetes: name the node with --node-name or NODE_NAME (the pod's spec.nodeName)"
    )]
    NoNode,
    /// Two sources are named.
    #[error("--pods-file is no part of --source kubernetes: leave one of the two out")]
    Two,
}

/// Picks the source. A file that is named wins over the name of the node, which may come from the environment.
pub fn resolve(settings: &Settings) -> Result<SourceConfig, SourceError> {
    let kubernetes = |node| {
        SourceConfig::Kubernetes(KubernetesConfig {
            node,
            kubeconfig: settings.kubeconfig.clone(),
        })
    };
    let (file, node) = (settings.pods_file.clone(), settings.node_name.clone());
    match (settings.source, file, node) {
        (None | Some(SourceKind::File), Some(file), _) => Ok(SourceConfig::File(file)),
        (None | Some(SourceKind::Kubernetes), None, Some(node)) => Ok(kubernetes(node)),
        (None, None, None) => Err(SourceError::None),
        (Some(SourceKind::File), None, _) => Err(SourceError::NoFile),
        (Some(SourceKind::Kubernetes), None, None) => Err(SourceError::NoNode),
        (Some(SourceKind::Kubernetes), Some(_), _) => Err(SourceError::Two),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use weir_agent::run::config::SourceConfig;

    use super::{Settings, SourceError, SourceKind, resolve};

    #[test]
    fn what_is_named_is_the_source() {
        let settings = |source, file: Option<&str>, node: Option<&str>| Settings {
            source,
            pods_file: file.map(PathBuf::from),
            node_name: node.map(|name| name.parse().unwrap()),
            ..Settings::default()
        };
        let file = Ok(SourceConfig::File(PathBuf::from("f")));
        assert_eq!(resolve(&settings(None, Some("f"), None)), file);
        assert_eq!(resolve(&settings(None, Some("f"), Some("n"))), file);
        assert_eq!(
            resolve(&settings(Some(SourceKind::File), Some("f"), Some("n"))),
            file
        );
        for kind in [None, Some(SourceKind::Kubernetes)] {
            let Ok(SourceConfig::Kubernetes(config)) = resolve(&settings(kind, None, Some("n"))) else {
                panic!("{kind:?}");
            };
            assert_eq!(config.node.as_str(), "n");
        }
        let kubernetes = Some(SourceKind::Kubernetes);
        for (settings, error) in [
            (settings(None, None, None), SourceError::None),
            (
                settings(Some(SourceKind::File), None, Some("n")),
                SourceError::NoFile,
            ),
            (settings(kubernetes, None, None), SourceError::NoNode),
            (settings(kubernetes, Some("f"), Some("n")), SourceError::Two),
        ] {
            assert_eq!(resolve(&settings), Err(error));
        }
    }
}
