//! The wiring as `weir status` tells it.

use std::os::fd::BorrowedFd;
use std::path::Path;

use weir_netdetect::cni::Network;
use weir_netdetect::read::ReadError;
use weir_netdetect::report::Detected;

use super::{Seen, Wiring};
use crate::api::status::{InterfaceWiring, NodeWiring};

impl Wiring {
    /// What is told of the node; nothing before it was seen for the first time.
    #[must_use]
    pub fn node(&self) -> Option<NodeWiring> {
        let seen = self.seen()?;
        Some(NodeWiring {
            plugins: plugins(&seen),
            problems: problems(&seen),
            at: seen.at.into(),
        })
    }

    /// What is told of a pod, which is looked at for it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn pod(&self, netns: BorrowedFd<'_>) -> Result<Vec<InterfaceWiring>, ReadError> {
        let Some(seen) = self.seen() else {
            return Ok(Vec::new());
        };
        Ok(interfaces(&seen.detector.pod(Path::new(""), netns, None)?))
    }

    /// Programs on the node, as last seen, that do not see what a pod receives that is captured by the node contract.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn passed_by(&self, netns: BorrowedFd<'_>) -> Result<Vec<String>, ReadError> {
        let Some(seen) = self.seen() else {
            return Ok(Vec::new());
        };
        let passed = seen.detector.passed_by(netns)?;
        Ok(passed.iter().map(ToString::to_string).collect())
    }
}

/// Types of the plugins that the container runtime calls.
pub(super) fn plugins(seen: &Seen) -> Vec<String> {
    let network = seen.detector.configuration.picked();
    let plugins = network.into_iter().flat_map(Network::all_plugins);
    plugins.map(|plugin| plugin.kind.clone()).collect()
}

/// What is wrong, and what istio-cni has left.
pub(super) fn problems(seen: &Seen) -> Vec<String> {
    let wrong = seen.detector.configuration.problems.iter();
    let left = seen.detector.node.leftovers.iter();
    wrong
        .map(ToString::to_string)
        .chain(left.map(|left| format!("istio-cni has left {left}: {}", left.remedy())))
        .collect()
}

fn interfaces(pod: &Detected) -> Vec<InterfaceWiring> {
    let wiring = |plan: &weir_netdetect::choose::InterfacePlan| {
        let identity = pod
            .plugins
            .iter()
            .find(|connected| connected.interface == plan.name)
            .map(|connected| &connected.identity);
        let far_end = pod
            .facts
            .interface(plan.index)
            .and_then(|own| own.far_end.as_ref());
        InterfaceWiring {
            interface: plan.name.clone(),
            kind: plan.kind.to_string(),
            far_end: far_end.and_then(|end| end.name.clone()),
            plugin: identity.map_or_else(|| "unknown".to_owned(), |identity| identity.cni.to_string()),
            confidence: identity
                .map_or_else(|| "none".to_owned(), |identity| identity.confidence.to_string()),
        }
    };
    pod.plan.interfaces.iter().map(wiring).collect()
}
