//! Which pods are in the mesh, and why the others are not: pure decisions, the same as Istio's.

mod labels;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;

pub use labels::{LabelSelector, LabelSelectorError};
pub use rules::{EnablementSelector, EnablementSelectorsError, Field, Rules};

use super::pod::{Pod, PodName, StringMap};

/// Label of a pod or namespace that puts it into the mesh, or with `none` keeps a pod out.
pub const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";

/// Annotation that the sidecar injector leaves on the pods that it changed.
pub const SIDECAR_STATUS: &str = "sidecar.istio.io/status";

/// Whether a pod is in the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// It is.
    Enrol,
    /// It is not.
    Leave(Why),
}

/// Why a pod is not in the mesh; its `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its namespace is on the list of the excluded.
    NamespaceExcluded {
        /// That namespace.
        namespace: String,
    },
    /// It has no network namespace of its own.
    HostNetwork,
    /// It has a sidecar already.
    Sidecar,
    /// It is the proxy itself.
    Ztunnel,
    /// Its containers have ended.
    Finished,
    /// Its own label keeps it out.
    OptedOut,
    /// The label that decides has a value that means nothing.
    UnknownMode {
        /// The value.
        mode: String,
    },
    /// Neither it nor its namespace asks for the mesh.
    NotLabelled,
    /// The configured selectors do not cover it.
    NoSelectorMatches,
}

impl Why {
    /// A word for tables and metric labels.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NamespaceExcluded { .. } => "namespace_excluded",
            Self::HostNetwork => "host_network",
            Self::Sidecar => "sidecar",
            Self::Ztunnel => "ztunnel",
            Self::Finished => "finished",
            Self::OptedOut => "opted_out",
            Self::UnknownMode { .. } => "unknown_mode",
            Self::NotLabelled => "not_labelled",
            Self::NoSelectorMatches => "no_selector_matches",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NamespaceExcluded { namespace } => {
                write!(
                    f,
                    "its namespace {namespace} is excluded from the mesh by the configuration"
                )
            }
            Self::HostNetwork => f.write_str(
                "it uses the node's network (hostNetwork), which cannot be redirected for one pod",
            ),
            Self::Sidecar => write!(
                f,
                "it has a sidecar (annotation {SIDECAR_STATUS}), which does the mesh's work"
            ),
            Self::Ztunnel => f.write_str("it is ztunnel itself"),
            Self::Finished => f.write_str("it has finished, so there is no traffic to redirect"),
            Self::OptedOut => write!(f, "its label {DATAPLANE_MODE}=none keeps it out"),
            Self::UnknownMode { mode } => {
                write!(
                    f,
                    "the label {DATAPLANE_MODE} has the value {mode:?}: use \"ambient\" to enrol"
                )
            }
            Self::NotLabelled => {
                write!(
                    f,
                    "neither it nor its namespace has the label {DATAPLANE_MODE}=ambient"
                )
            }
            Self::NoSelectorMatches => f.write_str("none of the configured enablement selectors matches it"),
        }
    }
}

/// Decides about one pod. Reasons to leave a pod alone come before every wish to enrol it.
#[must_use]
pub fn select(pod: &Pod, namespace_labels: &StringMap, rules: &Rules) -> Selection {
    if let Some(why) = rejection(pod, rules) {
        return Selection::Leave(why);
    }
    if rules
        .selectors
        .iter()
        .any(|selector| selector.matches(&pod.labels, namespace_labels))
    {
        return Selection::Enrol;
    }
    Selection::Leave(explain(pod, namespace_labels, rules))
}

fn rejection(pod: &Pod, rules: &Rules) -> Option<Why> {
    let namespace = pod.name.namespace();
    if rules.excluded_namespaces.contains(namespace) {
        Some(Why::NamespaceExcluded {
            namespace: namespace.to_owned(),
        })
    } else if pod.host_network {
        Some(Why::HostNetwork)
    } else if pod.annotations.contains_key(SIDECAR_STATUS) {
        Some(Why::Sidecar)
    } else if is_ztunnel(&pod.name, &pod.labels, &rules.system_namespace) {
        Some(Why::Ztunnel)
    } else if pod.phase.is_finished() {
        Some(Why::Finished)
    } else {
        None
    }
}

/// Whether this is a pod of ztunnel: labelled so, in the system namespace.
#[must_use]
pub fn is_ztunnel(name: &PodName, labels: &StringMap, system_namespace: &str) -> bool {
    name.namespace() == system_namespace && labels.get("app").is_some_and(|app| app == "ztunnel")
}

fn explain(pod: &Pod, namespace_labels: &StringMap, rules: &Rules) -> Why {
    if rules.selectors != EnablementSelector::defaults() {
        return Why::NoSelectorMatches;
    }
    match pod
        .labels
        .get(DATAPLANE_MODE)
        .or_else(|| namespace_labels.get(DATAPLANE_MODE))
    {
        Some(mode) if mode == "none" && pod.labels.contains_key(DATAPLANE_MODE) => Why::OptedOut,
        Some(mode) if mode != "none" => Why::UnknownMode { mode: mode.clone() },
        _ => Why::NotLabelled,
    }
}
