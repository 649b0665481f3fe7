//! The part of the enrolment rules that can be configured.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

use super::DATAPLANE_MODE;
use super::labels::{LabelSelector, LabelSelectorError, WrittenSelector};
use crate::pods::pod::StringMap;

/// What enrolment depends on besides the pod itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Namespaces whose pods are never enrolled.
    pub excluded_namespaces: BTreeSet<String>,
    /// The namespace where ztunnel runs.
    pub system_namespace: String,
    /// A pod that one of these matches is enrolled.
    pub selectors: Vec<EnablementSelector>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            excluded_namespaces: BTreeSet::from(["kube-system".to_owned()]),
            system_namespace: "istio-system".to_owned(),
            selectors: EnablementSelector::defaults(),
        }
    }
}

/// Matches a pod when both its labels and its namespace's are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnablementSelector {
    pod: LabelSelector,
    namespace: LabelSelector,
}

impl EnablementSelector {
    /// Istio's: the pod asks for it, or its namespace does and the pod does not refuse.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let asks = LabelSelector::equals(DATAPLANE_MODE, "ambient");
        let refuses_not = LabelSelector::differs(DATAPLANE_MODE, "none");
        vec![
            Self {
                pod: asks.clone(),
                namespace: LabelSelector::default(),
            },
            Self {
                pod: refuses_not,
                namespace: asks,
            },
        ]
    }

    /// Reads a YAML list of `{podSelector, namespaceSelector}`, as Istio's `enablementSelectors` has it.
    /// A selector that is left out matches everything; an empty list enrols nobody.
    pub fn parse_list(yaml: &str) -> Result<Vec<Self>, EnablementSelectorsError> {
        // YAML reads no text at all as an empty list, which would quietly enrol nobody.
        let written: Option<Vec<WrittenEnablement>> = serde_yaml_ng::from_str(yaml)?;
        let written = written.ok_or(EnablementSelectorsError::Empty)?;
        written
            .into_iter()
            .enumerate()
            .map(|(index, entry)| entry.checked(index))
            .collect()
    }

    /// Whether a pod with these labels, in a namespace with those, is meant.
    #[must_use]
    pub fn matches(&self, pod_labels: &StringMap, namespace_labels: &StringMap) -> bool {
        self.pod.matches(pod_labels) && self.namespace.matches(namespace_labels)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenEnablement {
    #[serde(default)]
    pod_selector: WrittenSelector,
    #[serde(default)]
    namespace_selector: WrittenSelector,
}

impl WrittenEnablement {
    fn checked(self, index: usize) -> Result<EnablementSelector, EnablementSelectorsError> {
        let in_field = |field| move |source| EnablementSelectorsError::Selector { index, field, source };
        Ok(EnablementSelector {
            pod: self.pod_selector.try_into().map_err(in_field(Field::Pod))?,
            namespace: self
                .namespace_selector
                .try_into()
                .map_err(in_field(Field::Namespace))?,
        })
    }
}

/// Which of the two selectors of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `podSelector`
    Pod,
    /// `namespaceSelector`
    Namespace,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "podSelector",
            Self::Namespace => "namespaceSelector",
        })
    }
}

/// What is wrong with a list of enablement selectors.
#[derive(Debug, thiserror::Error)]
pub enum EnablementSelectorsError {
    /// Not YAML, or not a list of selectors.
    #[error(
        "the enablement selectors cannot be read: write a YAML list of {{podSelector, namespaceSelector}}: {0}"
    )]
    Yaml(#[from] serde_yaml_ng::Error),
    /// There is no list.
    #[error(
        "the enablement selectors are empty: write a YAML list, `[]` to enrol nobody, or leave the setting out"
    )]
    Empty,
    /// One selector makes no sense.
    #[error("enablement selector {index}, {field}: {source}")]
    Selector {
        /// Its place in the list, from 0.
        index: usize,
        /// Which of its two halves.
        field: Field,
        /// What is wrong.
        source: LabelSelectorError,
    },
}
