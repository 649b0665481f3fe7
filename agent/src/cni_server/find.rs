//! Which pod the runtime speaks of.

use std::time::Duration;

use tokio::time::timeout;

use crate::pods::pod::{PodEntry, PodName, PodUid};
use crate::pods::source::{PodSource, SourceError, SourceEvent};

/// How far the source's list may lag behind kubelet before somebody else is asked.
const LAG: Duration = Duration::from_millis(100);
/// How long it is waited for in the end.
const PATIENCE: Duration = Duration::from_secs(3);

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

/// The pod's uid in the list; it may be another one than the runtime's.
pub(super) fn listed_uid(source: &PodSource, name: &PodName, uid: &str) -> Option<PodUid> {
    let events = source.events.borrow();
    meant(&events, name, Some(uid)).map(|entry| entry.pod.uid.clone())
}

async fn in_list(source: &PodSource, name: &PodName, uid: Option<&str>) -> Result<PodEntry, FindError> {
    let mut events = source.events.clone();
    let event = events
        .wait_for(|event| meant(event, name, uid).is_some())
        .await
        .map_err(|_closed| FindError::Ended)?;
    let found = meant(&event, name, uid);
    found.cloned().ok_or_else(|| FindError::Unheard(name.clone()))
}

fn meant<'a>(event: &'a SourceEvent, name: &PodName, uid: Option<&str>) -> Option<&'a PodEntry> {
    match event {
        SourceEvent::Pending => None,
        SourceEvent::Snapshot(list) => list.pods.iter().find(|entry| is_meant(entry, name, uid)),
    }
}

/// A pod that is made anew has the name of the one before, but not its uid.
fn is_meant(entry: &PodEntry, name: &PodName, uid: Option<&str>) -> bool {
    let has_uid = |uid: &str| {
        let static_uid = entry.pod.static_uid();
        entry.pod.uid.as_str() == uid || static_uid.is_some_and(|known| known.as_str() == uid)
    };
    entry.pod.name == *name && uid.is_none_or(has_uid)
}

#[cfg(test)]
mod tests;
