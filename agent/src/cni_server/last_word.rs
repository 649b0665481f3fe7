//! Keeps the agent's last word, for when it is away.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, warn};
use weir_cni::last_word::LastWord;

use crate::pods::pod::{Phase, Pod, PodEntry, PodName, PodUid, StringMap};
use crate::pods::select::{Rules, Selection, select};
use crate::pods::source::{Namespaces, SourceEvent};
use crate::run::health::Health;
use crate::run::view::View;

/// Between attempts to write it.
const PAUSE: Duration = Duration::from_secs(5);
/// What the agent misses while it cannot be written.
const PART: &str = "the last word";

/// Why it is not as it should be.
#[derive(Debug, thiserror::Error)]
enum WordError {
    #[error(
        "{} cannot be written: {source}. While no agent runs, pods outside of the mesh will have to wait for one", path.display()
    )]
    Unwritten { path: PathBuf, source: io::Error },
    #[error(
        "{} can be neither written nor removed: {source}. While no agent runs, pods may start past the mesh by what it says", path.display()
    )]
    Stale { path: PathBuf, source: io::Error },
}

/// Writes it anew whenever it changes.
pub(super) async fn keep(view: View, path: PathBuf) {
    let cni = view.config.cni.as_ref();
    let may_start = cni.is_some_and(|cni| cni.start_without_agent);
    let mut pods = view.source.events.clone();
    let mut namespaces = view.source.namespaces.clone();
    let mut written = None;
    loop {
        let word = outside(
            &namespaces.borrow_and_update(),
            listed(&pods.borrow_and_update()),
            &view.config.rules,
        );
        // That nobody is outside of the mesh is a word too: it takes the place of an earlier agent's.
        let word = if may_start { word } else { BTreeSet::new() };
        if written.as_ref() != Some(&word) {
            let trouble = write(&path, word.clone()).err().map(|error| error.to_string());
            written = trouble.is_none().then_some(word);
            tell(&view.health, trouble);
        }
        tokio::select! {
            Ok(()) = pods.changed() => {}
            Ok(()) = namespaces.changed() => {}
            () = sleep(PAUSE), if written.is_none() => {}
            // Nobody tells of pods any more.
            else => return,
        }
    }
}

/// A word that cannot be replaced is taken back: it may be wrong by now.
fn write(path: &Path, outside: BTreeSet<String>) -> Result<(), WordError> {
    debug!(?outside, "last word");
    let written = LastWord::new(outside).and_then(|word| word.write(path));
    let path = path.to_owned();
    written.map_err(|source| match take_back(&path) {
        Ok(()) => WordError::Unwritten { path, source },
        Err(source) => WordError::Stale { path, source },
    })
}

fn take_back(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Says once what is wrong.
fn tell(health: &Health, trouble: Option<String>) {
    if let Some(trouble) = &trouble
        && health.get(PART).as_ref() != Some(trouble)
    {
        warn!("{trouble}; trying again");
    }
    health.set(PART, trouble);
}

fn listed(event: &SourceEvent) -> &[PodEntry] {
    match event {
        SourceEvent::Pending => &[],
        SourceEvent::Snapshot(list) => &list.pods,
    }
}

/// The namespaces in which no pod is in the mesh, as far as that can be told from the namespaces' labels and from the
/// pods that there are.
fn outside(namespaces: &Namespaces, pods: &[PodEntry], rules: &Rules) -> BTreeSet<String> {
    let inside: BTreeSet<&str> = pods
        .iter()
        .filter(|entry| select(&entry.pod, &entry.namespace_labels, rules) == Selection::Enrol)
        .map(|entry| entry.pod.name.namespace())
        .collect();
    let is_outside = |name: &str, labels: &StringMap| {
        !inside.contains(name)
            && plain_pod(name).is_some_and(|pod| select(&pod, labels, rules) != Selection::Enrol)
    };
    let names = namespaces
        .iter()
        .filter(|(name, labels)| is_outside(name, labels));
    names.map(|(name, _)| name.clone()).collect()
}

/// A pod about which there is nothing to say but its namespace.
fn plain_pod(namespace: &str) -> Option<Pod> {
    Some(Pod {
        uid: PodUid::new("any").ok()?,
        name: PodName::new(namespace, "any").ok()?,
        service_account: String::new(),
        labels: StringMap::new(),
        annotations: StringMap::new(),
        host_network: false,
        phase: Phase::Pending,
        netns: None,
        addresses: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::outside;
    use crate::pods::select::Rules;
    use crate::pods::source::file;

    #[test]
    fn a_namespace_with_any_pod_in_the_mesh_is_not_outside() {
        let file = file::parse(
            "
namespaces:
  shop: {labels: {istio.io/dataplane-mode: ambient}}
  plain: {}
  mixed: {}
  kube-system: {labels: {istio.io/dataplane-mode: ambient}}
pods:
- {name: a, namespace: plain, uid: a}
- {name: b, namespace: mixed, uid: b}
- {name: c, namespace: mixed, uid: c, labels: {istio.io/dataplane-mode: ambient}}
- {name: d, namespace: unlisted, uid: d}
",
        )
        .unwrap();
        let outside = outside(&file.namespaces, &file.pods, &Rules::default());
        let names: Vec<&str> = outside.iter().map(String::as_str).collect();
        assert_eq!(names, ["kube-system", "plain", "unlisted"]);
    }
}
