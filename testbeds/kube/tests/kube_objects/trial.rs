//! Tries objects, in a namespace of a test's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Value, json};
use weir_kube::{Cluster, Place, objects};
use weir_testbeds::deadline::eventually;
use weir_testbeds::unique;

use crate::older::as_of;

const SERVED_WITHIN: Duration = Duration::from_secs(60);

pub struct Trial {
    pub namespace: String,
    cluster: Cluster,
    /// Of the server's version 1.
    minor: u32,
    /// What is removed at the end.
    made: Vec<String>,
    /// Kinds that have been tried.
    pub kinds: BTreeSet<String>,
    _place: Place,
}

impl Trial {
    /// With these kinds that come with operators, which no API server has by itself.
    pub fn new(name: &str, crds: &[&str]) -> Self {
        let place = Place::find().unwrap_or_else(|error| panic!("{error}"));
        let cluster = place.cluster().unwrap();
        let mut trial = Self {
            namespace: unique::name(name),
            minor: minor(&cluster),
            cluster,
            made: Vec::new(),
            kinds: BTreeSet::new(),
            _place: place,
        };
        trial.make(&objects::namespace(&trial.namespace, &json!({})));
        for crd in crds {
            trial.define(crd);
        }
        trial
    }

    pub fn make(&mut self, object: &Value) {
        self.cluster.create(&objects::collection(object), object).unwrap();
        self.made.push(objects::path(object));
    }

    /// In a given cluster the real kind may be there.
    fn define(&mut self, crd: &str) {
        let file = format!("crds/{crd}.yaml");
        let definition = &documents(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file))[0];
        let spec = &definition["spec"];
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let objects = format!(
            "/apis/{}/{}/{}",
            word(&spec["group"]),
            word(&spec["versions"][0]["name"]),
            word(&spec["names"]["plural"])
        );
        if self.cluster.get(&objects).is_err() {
            self.make(definition);
            let served = eventually(SERVED_WITHIN, || self.cluster.get(&objects).ok());
            assert!(served.is_ok(), "{crd} is not served");
        }
    }

    /// Tries to apply an object, and that the server has looked at its fields.
    pub fn accepts(&mut self, about: &str, object: &Value) {
        let mut object = object.clone();
        if object["metadata"].get("namespace").is_some() {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        as_of(self.minor, &mut object);
        let path = objects::path(&object);
        let applied = self.cluster.dry_run(&path, &object);
        let applied = applied.unwrap_or_else(|error| panic!("{about}: {error}"));
        assert_eq!(applied["metadata"]["name"], object["metadata"]["name"]);
        object["misspelt"] = json!({});
        let refused = self.cluster.dry_run(&path, &object);
        assert!(
            refused.is_err_and(|error| error.to_string().contains("misspelt")),
            "{path}"
        );
        self.kinds.insert(object["kind"].as_str().unwrap().to_owned());
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Ours goes as a whole.
        for path in self.made.iter().rev() {
            drop(self.cluster.delete(path));
        }
    }
}

/// Some say `20+`.
fn minor(cluster: &Cluster) -> u32 {
    let version = cluster.get("/version").unwrap();
    let minor = version["minor"].as_str().unwrap();
    minor.trim_end_matches('+').parse().unwrap()
}

/// All objects in a file.
pub fn documents(path: &PathBuf) -> Vec<Value> {
    parse(&std::fs::read_to_string(path).unwrap())
}

pub fn parse(text: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}
