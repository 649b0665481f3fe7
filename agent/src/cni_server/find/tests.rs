use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::find;
use crate::pods::pod::{PodEntry, PodName};
use crate::pods::source::file::{self, FileError};
use crate::pods::source::{FindPod, PodSource, Snapshot, SourceError, SourceEvent, SourceStatus};

/// Somebody who knows these pods, or cannot be asked.
#[derive(Debug)]
struct Knows(Option<Vec<PodEntry>>);

impl FindPod for Knows {
    fn find(&self, name: PodName) -> BoxFuture<'_, Result<Option<PodEntry>, SourceError>> {
        let answer = match &self.0 {
            Some(pods) => Ok(pods.iter().find(|entry| entry.pod.name == name).cloned()),
            None => Err(FileError::Missing {
                path: "/the/server".into(),
            }
            .into()),
        };
        Box::pin(async { answer })
    }
}

fn pods(list: &str) -> Vec<PodEntry> {
    file::parse(&format!("pods: [{list}]")).unwrap().pods
}

fn event(list: &str) -> SourceEvent {
    SourceEvent::Snapshot(Snapshot {
        revision: 1,
        pods: pods(list).into(),
    })
}

fn source(list: &str, finder: Option<Knows>) -> (watch::Sender<SourceEvent>, PodSource) {
    let (tell, events) = watch::channel(event(list));
    let source = PodSource {
        events,
        namespaces: watch::channel(Arc::default()).1,
        finder: finder.map(|finder| Arc::new(finder) as Arc<dyn FindPod>),
        status: watch::channel(SourceStatus::Pending).1,
    };
    (tell, source)
}

async fn found(source: &PodSource, uid: Option<&str>) -> Result<String, String> {
    let name = PodName::new("shop", "web").unwrap();
    let found = find(source, &name, uid).await;
    found
        .map(|entry| entry.pod.uid.to_string())
        .map_err(|error| error.to_string())
}

const OLD: &str = "{name: web, namespace: shop, uid: old}";
const NEW: &str = "{name: web, namespace: shop, uid: new}";

#[tokio::test]
async fn a_listed_pod_is_found_by_its_name_and_uid() {
    let (_tell, source) = source(NEW, None);
    assert_eq!(found(&source, Some("new")).await.unwrap(), "new");
    assert_eq!(
        found(&source, None).await.unwrap(),
        "new",
        "older runtimes do not tell the uid"
    );
}

#[tokio::test]
async fn the_pod_before_of_that_name_is_not_taken_for_it() {
    let (_tell, source) = source(OLD, Some(Knows(Some(pods(NEW)))));
    assert_eq!(found(&source, Some("new")).await.unwrap(), "new");
}

#[tokio::test]
async fn a_pod_of_a_file_has_the_uid_of_its_file() {
    let list = "{name: web, namespace: shop, uid: mirror, annotations: {kubernetes.io/config.hash: file}}";
    let (_tell, source) = source(list, None);
    assert_eq!(found(&source, Some("file")).await.unwrap(), "mirror");
}

#[tokio::test]
async fn a_list_that_lags_behind_is_waited_for() {
    let (tell, source) = source("", Some(Knows(Some(Vec::new()))));
    let waits = async { found(&source, Some("new")).await };
    let tells = async { tell.send_replace(event(NEW)) };
    assert_eq!(tokio::join!(waits, tells).0.unwrap(), "new");
}

#[tokio::test]
async fn who_cannot_be_asked_is_named() {
    let (_tell, source) = source(OLD, Some(Knows(None)));
    let error = found(&source, Some("new")).await.unwrap_err();
    assert!(
        error.contains("shop/web") && error.contains("/the/server"),
        "{error}"
    );
}
