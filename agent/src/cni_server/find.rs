//! Which pod the runtime speaks of.

use std::time::Duration;

use tokio::time::timeout;

use crate::pods::pod::{PodEntry, PodName};
use crate::pods::source::{PodSource, SourceError, SourceEvent};

/// How far the source's list may lag behind kubelet before somebody else is asked.
const LAG: Duration = Duration::from_millis(100);
/// How long it is waited for in the end.
const PATIENCE: Duration = Duration::from_secs(3);
/// Where the API server's copy of a pod that kubelet has from a file keeps the uid that runtimes know.
const STATIC_UID: &str = "kubernetes.io/config.hash";

/// Why a pod is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum FindError {
    #[error("the agent has not heard of pod {0} yet")]
    Unheard(PodName),
    #[error("the agent has not heard of pod {name} yet, and asking for it fails: {source}")]
    Source { name: PodName, source: SourceError },
    #[error("nobody tells the agent of pods any more")]
    Ended,
}

/// Finds the pod: in the list, else by asking, else by waiting for the list.
pub(super) async fn find(
    source: &PodSource,
    name: &PodName,
    uid: Option<&str>,
) -> Result<PodEntry, FindError> {
    let listed = |within| timeout(within, in_list(source, name, uid));
    if let Ok(entry) = listed(LAG).await {
        return entry;
    }
    let asked = match &source.finder {
        Some(finder) => timeout(PATIENCE, finder.find(name.clone())).await,
        None => Ok(Ok(None)),
    };
    match asked {
        Ok(Ok(Some(entry))) if is_meant(&entry, name, uid) => return Ok(entry),
        Ok(Err(source)) => {
            let name = name.clone();
            return Err(FindError::Source { name, source });
        }
        Ok(Ok(_)) | Err(_) => {}
    }
    let unheard = || FindError::Unheard(name.clone());
    listed(PATIENCE).await.map_err(|_elapsed| unheard())?
}

async fn in_list(source: &PodSource, name: &PodName, uid: Option<&str>) -> Result<PodEntry, FindError> {
    let mut events = source.events.clone();
    let has_it = |event: &SourceEvent| matches!(event, SourceEvent::Snapshot(list) if list.pods.iter().any(|entry| is_meant(entry, name, uid)));
    let event = events
        .wait_for(has_it)
        .await
        .map_err(|_closed| FindError::Ended)?;
    let SourceEvent::Snapshot(list) = &*event else {
        return Err(FindError::Ended);
    };
    let found = list.pods.iter().find(|entry| is_meant(entry, name, uid));
    found.cloned().ok_or_else(|| FindError::Unheard(name.clone()))
}

/// A pod that is made anew has the name of the one before, but not its uid.
fn is_meant(entry: &PodEntry, name: &PodName, uid: Option<&str>) -> bool {
    let has_uid = |uid: &str| {
        let static_uid = entry.pod.annotations.get(STATIC_UID);
        entry.pod.uid.as_str() == uid || static_uid.is_some_and(|known| known == uid)
    };
    entry.pod.name == *name && uid.is_none_or(has_uid)
}

#[cfg(test)]
mod tests;
