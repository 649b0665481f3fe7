//! The reader of the container runtime's configuration.

use std::path::Path;

use weir_netdetect::cni;

/// A file, in both of its formats.
pub fn cni_configuration(input: &[u8]) {
    for name in ["a.conf", "a.conflist"] {
        match cni::parse(Path::new(name), input) {
            Ok(network) => {
                assert!(!network.plugins.is_empty());
                assert!(network.all_plugins().all(|plugin| !plugin.kind.is_empty()));
            }
            Err(error) => assert!(error.to_string().contains(name)),
        }
    }
}
