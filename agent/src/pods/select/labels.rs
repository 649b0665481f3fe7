//! Kubernetes label selectors.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::pods::pod::StringMap;

/// Requirements on labels that must all hold; with none it matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    /// A selector that wants `key` to have `value`.
    #[must_use]
    pub(super) fn equals(key: &str, value: &str) -> Self {
        let condition = Condition::In(BTreeSet::from([value.to_owned()]));
        Self(vec![Requirement {
            key: key.to_owned(),
            condition,
        }])
    }

    /// A selector that wants `key` to be absent or to have another value.
    #[must_use]
    pub(super) fn differs(key: &str, value: &str) -> Self {
        let condition = Condition::NotIn(BTreeSet::from([value.to_owned()]));
        Self(vec![Requirement {
            key: key.to_owned(),
            condition,
        }])
    }

    /// Whether `labels` meet every requirement.
    #[must_use]
    pub fn matches(&self, labels: &StringMap) -> bool {
        self.0
            .iter()
            .all(|requirement| requirement.holds(labels.get(&requirement.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<&String>) -> bool {
        match &self.condition {
            Condition::In(values) => value.is_some_and(|value| values.contains(value)),
            Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Condition::Exists => value.is_some(),
            Condition::DoesNotExist => value.is_none(),
        }
    }
}

/// A selector as it is written in YAML, before it is checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WrittenSelector {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<WrittenExpression>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenExpression {
    key: String,
    operator: String,
    #[serde(default)]
    values: BTreeSet<String>,
}

impl TryFrom<WrittenSelector> for LabelSelector {
    type Error = LabelSelectorError;

    fn try_from(written: WrittenSelector) -> Result<Self, Self::Error> {
        let equalities = written.match_labels.into_iter().map(|(key, value)| {
            let condition = Condition::In(BTreeSet::from([value]));
            Requirement { key, condition }.checked()
        });
        let expressions = written.match_expressions.into_iter().map(Requirement::try_from);
        equalities.chain(expressions).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<WrittenExpression> for Requirement {
    type Error = LabelSelectorError;

    fn try_from(written: WrittenExpression) -> Result<Self, Self::Error> {
        let WrittenExpression {
            key,
            operator,
            values,
        } = written;
        let condition = match (operator.as_str(), values.is_empty()) {
            ("In", false) => Condition::In(values),
            ("NotIn", false) => Condition::NotIn(values),
            ("Exists", true) => Condition::Exists,
            ("DoesNotExist", true) => Condition::DoesNotExist,
            ("In" | "NotIn", true) => return Err(LabelSelectorError::NoValues { key, operator }),
            ("Exists" | "DoesNotExist", false) => return Err(LabelSelectorError::Values { key, operator }),
            _ => return Err(LabelSelectorError::Operator { key, operator }),
        };
        Self { key, condition }.checked()
    }
}

impl Requirement {
    fn checked(self) -> Result<Self, LabelSelectorError> {
        if !is_label_key(&self.key) {
            return Err(LabelSelectorError::Key { key: self.key });
        }
        let bad = match &self.condition {
            Condition::In(values) | Condition::NotIn(values) => {
                values.iter().find(|value| !is_label_value(value))
            }
            Condition::Exists | Condition::DoesNotExist => None,
        };
        match bad.cloned() {
            Some(value) => Err(LabelSelectorError::Value { key: self.key, value }),
            None => Ok(self),
        }
    }
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key
        .rsplit_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_prefix = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.')
    };
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(is_prefix)
}

fn is_label_value(value: &str) -> bool {
    value.len() <= 63
        && value
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        && value.bytes().next().is_none_or(|c| c.is_ascii_alphanumeric())
        && value.bytes().last().is_none_or(|c| c.is_ascii_alphanumeric())
}

/// What is wrong with a label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelSelectorError {
    /// Not one of Kubernetes' operators.
    #[error("label {key:?}: operator {operator:?} is unknown: use In, NotIn, Exists or DoesNotExist")]
    Operator {
        /// The label.
        key: String,
        /// What was given.
        operator: String,
    },
    /// The operator compares with values, and there are none.
    #[error("label {key:?}: {operator} needs at least one entry in `values`")]
    NoValues {
        /// The label.
        key: String,
        /// The operator.
        operator: String,
    },
    /// The operator does not look at values, and there are some.
    #[error("label {key:?}: {operator} takes no `values`: remove them, or use In or NotIn")]
    Values {
        /// The label.
        key: String,
        /// The operator.
        operator: String,
    },
    /// No label can have this key.
    #[error("{key:?} is not a label key: write `name` or `prefix/name` as in a pod's metadata.labels")]
    Key {
        /// What was given.
        key: String,
    },
    /// No label can have this value.
    #[error("label {key:?}: {value:?} is not a label value: use up to 63 letters, digits, '-', '_' and '.'")]
    Value {
        /// The label.
        key: String,
        /// What was given.
        value: String,
    },
}
