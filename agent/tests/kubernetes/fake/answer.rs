//! Answers.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::unfold;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Method, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::store::{Happened, Kind};
use super::{Asked, Fault, Shared};

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

pub async fn answer(shared: Arc<Shared>, asked: &Asked) -> Response<Body> {
    if let Some(Fault::AcceptOnly(token)) = *shared.fault.lock().unwrap()
        && asked.authorization != format!("Bearer {token}")
    {
        return refusal(401, "Unauthorized");
    }
    let query = query(&asked.query);
    let parts: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
    if let Some(answer) = write(&shared, asked, &parts) {
        return answer;
    }
    let (kind, key) = match parts[..] {
        ["api", "v1", "pods"] => (Kind::Pod, None),
        ["api", "v1", "namespaces"] => (Kind::Namespace, None),
        ["api", "v1", "namespaces", name] => (Kind::Namespace, Some(name.to_owned())),
        ["api", "v1", "namespaces", namespace, "pods", name] => {
            (Kind::Pod, Some(format!("{namespace}/{name}")))
        }
        _ => return refusal(404, "the server could not find the requested resource"),
    };
    let watches = query.contains_key("watch");
    let fault = shared.fault.lock().unwrap().clone();
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Garbage) => whole(200, b"<html>It works!</html>\n".to_vec()),
        Some(Fault::Refuse {
            kind: other,
            watches_only,
            code,
        }) if other == kind && (watches || !watches_only) => {
            refusal(code, &format!("{kind:?} is forbidden to \"weir\""))
        }
        _ => match key {
            Some(key) => match shared.store.get(kind, &key) {
                Some(object) => whole(200, object.to_string()),
                None => refusal(404, &format!("{key} not found")),
            },
            None if watches => watch(shared, kind, &query),
            None => list(&shared, kind, &query),
        },
    }
}

/// What a request to change something comes to.
fn write(shared: &Shared, asked: &Asked, parts: &[&str]) -> Option<Response<Body>> {
    let fault = shared.fault.lock().unwrap().clone();
    match (&asked.method, parts) {
        (&Method::PATCH, ["api", "v1", "namespaces", namespace, "pods", name, "status"]) => {
            if let Some(Fault::RefuseWrites {
                of_events: false,
                code,
            }) = fault
            {
                return Some(refusal(code, "pods/status is forbidden to \"weir\""));
            }
            Some(patch(shared, &format!("{namespace}/{name}"), &asked.body))
        }
        (&Method::POST, ["apis", "events.k8s.io", "v1", "namespaces", _, "events"]) => {
            if let Some(Fault::RefuseWrites {
                of_events: true,
                code,
            }) = fault
            {
                return Some(refusal(code, "events is forbidden to \"weir\""));
            }
            let event: Value = serde_json::from_slice(&asked.body).unwrap();
            if !event["metadata"]["generateName"].as_str().unwrap().ends_with('-') {
                return Some(refusal(422, "metadata.generateName: Invalid value"));
            }
            shared.events.lock().unwrap().push(event.clone());
            Some(whole(201, event.to_string()))
        }
        _ => None,
    }
}

/// A merge patch of annotations, under the condition of a UID.
fn patch(shared: &Shared, key: &str, body: &[u8]) -> Response<Body> {
    let patch: Value = serde_json::from_slice(body).unwrap();
    let Some(mut pod) = shared.store.get(Kind::Pod, key) else {
        return refusal(404, "no such pod");
    };
    if patch["metadata"]["uid"] != pod["metadata"]["uid"] {
        return refusal(
            422,
            "Pod is invalid: metadata.uid: Invalid value: field is immutable",
        );
    }
    let annotations = &mut pod["metadata"]["annotations"];
    for (name, value) in patch["metadata"]["annotations"].as_object().unwrap() {
        if annotations.is_null() {
            *annotations = json!({});
        }
        match value {
            Value::Null => _ = annotations.as_object_mut().unwrap().remove(name),
            value => annotations[name] = value.clone(),
        }
    }
    shared.store.put(Kind::Pod, pod.clone());
    whole(200, pod.to_string())
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
        .collect()
}

/// As the server does: objects that the selector leaves out are never sent.
fn is_selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    query.get("fieldSelector").is_none_or(|selector| {
        let node = selector.strip_prefix("spec.nodeName=").unwrap();
        object["spec"]["nodeName"] == node
    })
}

/// Two objects to a page, if there are to be pages.
fn list(shared: &Shared, kind: Kind, query: &BTreeMap<String, String>) -> Response<Body> {
    let (version, mut objects) = shared.store.all(kind);
    objects.retain(|object| is_selected(object, query));
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if query.contains_key("limit") {
        let from: usize = query.get("continue").map_or(0, |from| from.parse().unwrap());
        objects.drain(..from);
        if objects.len() > 2 {
            objects.truncate(2);
            metadata["continue"] = json!((from + 2).to_string());
        }
    }
    let list = json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": objects});
    whole(200, list.to_string())
}

struct Watching {
    shared: Arc<Shared>,
    changes: tokio::sync::watch::Receiver<u64>,
    kind: Kind,
    query: BTreeMap<String, String>,
    version: u64,
    until: Instant,
}

fn watch(shared: Arc<Shared>, kind: Kind, query: &BTreeMap<String, String>) -> Response<Body> {
    let watching = Watching {
        changes: shared.store.changes(),
        kind,
        version: query["resourceVersion"].parse().unwrap(),
        until: Instant::now() + Duration::from_secs(query["timeoutSeconds"].parse().unwrap()),
        query: query.clone(),
        shared,
    };
    let frames = unfold(watching, |mut watching| async {
        let text = watching.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), watching))
    });
    Response::new(StreamBody::new(frames).boxed_unsync())
}

impl Watching {
    async fn next(&mut self) -> Option<String> {
        loop {
            self.changes.borrow_and_update();
            let fault = self.shared.fault.lock().unwrap().clone();
            match fault {
                Some(Fault::EndWatches | Fault::Hang) => return None,
                Some(Fault::Garbage) => return Some("{\"type\": \"ADD\n".to_owned()),
                Some(Fault::SilentWatches) => {}
                Some(Fault::Refuse { .. } | Fault::RefuseWrites { .. } | Fault::AcceptOnly(_)) | None => {
                    if let Some(text) = self.news() {
                        return Some(text);
                    }
                }
            }
            timeout_at(self.until, self.changes.changed()).await.ok()?.ok()?;
        }
    }

    fn news(&mut self) -> Option<String> {
        let Some(news) = self.shared.store.since(self.kind, self.version) else {
            self.version = u64::MAX;
            let status = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
            return Some(format!("{}\n", json!({"type": "ERROR", "object": status})));
        };
        let last = news.last()?.version;
        self.version = last;
        let lines: String = news
            .iter()
            .filter(|happened| is_selected(&happened.object, &self.query))
            .map(line)
            .collect();
        let bookmark = json!({"type": "BOOKMARK", "object":
            {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": last.to_string()}}});
        Some(format!("{lines}{bookmark}\n"))
    }
}

fn line(happened: &Happened) -> String {
    format!("{}\n", json!({"type": happened.word, "object": happened.object}))
}

fn refusal(code: u16, message: &str) -> Response<Body> {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message});
    whole(code, status.to_string())
}

fn whole(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}
