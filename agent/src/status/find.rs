//! Which pod is meant.

use crate::run::registry::PodStatus;

/// No pod, or more than one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindPodError {
    /// None.
    #[error("no pod {query:?} is known on this node; `weir status` lists all")]
    Unknown {
        /// What was asked for.
        query: String,
    },
    /// Several namespaces have one.
    #[error("{query:?} could be any of {}; name the namespace too", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        query: String,
        /// The candidates.
        candidates: Vec<String>,
    },
}

/// The pod with this UID, `namespace/name`, or name.
///
/// # Errors
/// [`FindPodError`].
pub fn find(pods: Vec<PodStatus>, query: &str) -> Result<PodStatus, FindPodError> {
    let is_exact = |pod: &PodStatus| pod.uid.as_str() == query || pod.name.to_string() == query;
    let (exact, others): (Vec<_>, Vec<_>) = pods.into_iter().partition(is_exact);
    let by_name = others.into_iter().filter(|pod| pod.name.name() == query);
    let mut found: Vec<PodStatus> = if exact.is_empty() {
        by_name.collect()
    } else {
        exact
    };
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(FindPodError::Unknown {
            query: query.to_owned(),
        }),
        (Some(pod), true) => Ok(pod),
        (Some(pod), false) => {
            found.push(pod);
            Err(FindPodError::Ambiguous {
                query: query.to_owned(),
                candidates: found.iter().map(|pod| pod.name.to_string()).collect(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FindPodError, find};
    use crate::pods::pod::{PodName, PodUid};
    use crate::run::registry::{PodState, PodStatus};

    fn pod(uid: &str, namespace: &str, name: &str) -> PodStatus {
        let name = PodName::new(namespace, name).unwrap();
        PodStatus::new(PodUid::new(uid).unwrap(), name, PodState::Enrolled)
    }

    #[test]
    fn by_uid_full_name_or_name() {
        let pods = vec![pod("u1", "a", "web"), pod("u2", "b", "web"), pod("u3", "b", "db")];
        let uid = |query| find(pods.clone(), query).map(|pod| pod.uid.to_string());
        assert_eq!(uid("u2").unwrap(), "u2");
        assert_eq!(uid("a/web").unwrap(), "u1");
        assert_eq!(uid("db").unwrap(), "u3");
        assert!(matches!(uid("none"), Err(FindPodError::Unknown { .. })));
        let ambiguous = uid("web").unwrap_err().to_string();
        assert!(ambiguous.contains("a/web, b/web"), "{ambiguous}");
    }
}
