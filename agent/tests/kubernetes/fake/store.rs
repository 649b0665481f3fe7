//! Objects and their history.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Pod,
    Namespace,
}

/// Something that happened to an object.
#[derive(Clone, Debug)]
pub struct Happened {
    pub version: u64,
    pub kind: Kind,
    pub word: &'static str,
    pub object: Value,
}

#[derive(Default)]
struct Inner {
    version: u64,
    objects: BTreeMap<(Kind, String), Value>,
    history: Vec<Happened>,
    /// What is older than this is forgotten.
    compacted: u64,
}

#[derive(Default)]
pub struct Store {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn put(&self, kind: Kind, object: Value) {
        self.put_silently(kind, object);
        self.touch();
    }

    /// Watches that are under way do not hear of it.
    pub fn put_silently(&self, kind: Kind, mut object: Value) {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let before = inner.objects.insert((kind, key(&object)), object.clone());
        let word = if before.is_some() { "MODIFIED" } else { "ADDED" };
        inner.history.push(Happened {
            version,
            kind,
            word,
            object,
        });
    }

    pub fn remove(&self, kind: Kind, key: &str) {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version;
        let mut object = inner.objects.remove(&(kind, key.to_owned())).unwrap();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        inner.history.push(Happened {
            version,
            kind,
            word: "DELETED",
            object,
        });
        drop(inner);
        self.touch();
    }

    /// Forgets all that has happened so far.
    pub fn compact(&self) {
        let mut inner = self.lock();
        inner.version += 1;
        inner.compacted = inner.version;
        inner.history.clear();
    }

    /// What has happened since `version`; nothing if that is forgotten.
    pub fn since(&self, kind: Kind, version: u64) -> Option<Vec<Happened>> {
        let inner = self.lock();
        let news = |happened: &&Happened| happened.kind == kind && happened.version > version;
        (version >= inner.compacted).then(|| inner.history.iter().filter(news).cloned().collect())
    }

    pub fn all(&self, kind: Kind) -> (u64, Vec<Value>) {
        let inner = self.lock();
        let of_kind = inner.objects.iter().filter(|((other, _), _)| *other == kind);
        (inner.version, of_kind.map(|(_, object)| object.clone()).collect())
    }

    pub fn get(&self, kind: Kind, key: &str) -> Option<Value> {
        self.lock().objects.get(&(kind, key.to_owned())).cloned()
    }

    pub fn touch(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn key(object: &Value) -> String {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap();
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}
