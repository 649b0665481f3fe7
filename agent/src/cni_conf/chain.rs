//! A chain of plugins as a file says it. Keys keep their order and values their text: what we do not understand is
//! none of our business.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use weir_cni::version;

use super::PLUGIN;

/// Istio's own plugin.
pub(super) const ISTIO: &str = "istio-cni";

/// A JSON object.
#[derive(Debug)]
struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl Object {
    fn get(&self, key: &str) -> Option<&RawValue> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| &**value)
    }

    fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?.get()).ok()
    }
}

/// Why a file is no chain.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChainError {
    #[error("it is not JSON, or only half of it is there: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it has no name")]
    NoName,
    #[error("it lists no plugin")]
    NoPlugin,
    #[error("plugin number {} has no type", .0 + 1)]
    NoType(usize),
    #[error("its cniVersion is {0:?}, which weir-cni does not speak: it speaks {known}", known = version::SUPPORTED.join(", "))]
    Version(String),
}

/// A chain of plugins.
#[derive(Debug)]
pub(super) struct Chain {
    object: Object,
    plugins: Vec<(String, Box<RawValue>)>,
}

impl Chain {
    /// Reads a file; one that configures a single plugin is a chain of one.
    pub(super) fn read(text: &str) -> Result<Self, ChainError> {
        let object: Object = serde_json::from_str(text)?;
        let list: Vec<Box<RawValue>> = match object.get("plugins") {
            Some(plugins) => serde_json::from_str(plugins.get())?,
            None => vec![serde_json::from_str(text)?],
        };
        if object.text("name").is_none_or(|name| name.is_empty()) {
            return Err(ChainError::NoName);
        }
        let mut plugins = Vec::with_capacity(list.len());
        for (index, plugin) in list.into_iter().enumerate() {
            let kind = serde_json::from_str::<Object>(plugin.get())?.text("type");
            plugins.push((kind.ok_or(ChainError::NoType(index))?, plugin));
        }
        if plugins.is_empty() {
            return Err(ChainError::NoPlugin);
        }
        Ok(Self { object, plugins })
    }

    /// Whether a plugin of that type is in it.
    pub(super) fn has(&self, kind: &str) -> bool {
        self.plugins.iter().any(|(known, _)| known == kind)
    }

    /// Whether there is anything in it besides our plugin and Istio's.
    pub(super) fn has_others(&self) -> bool {
        self.plugins
            .iter()
            .any(|(kind, _)| kind != PLUGIN && kind != ISTIO)
    }

    /// The same chain with our plugin behind all others, and without Istio's.
    pub(super) fn with_ours(&self, entry: &str) -> Result<String, ChainError> {
        let spoken = self.object.text("cniVersion").unwrap_or_default();
        if !version::is_supported(&spoken) {
            return Err(ChainError::Version(spoken));
        }
        let ours: Box<RawValue> = serde_json::from_str(entry)?;
        let others = self
            .plugins
            .iter()
            .filter(|(kind, _)| kind != PLUGIN && kind != ISTIO);
        let plugins: Vec<&RawValue> = others.map(|(_, plugin)| &**plugin).chain([&*ours]).collect();
        let plugins = to_raw_value(&plugins)?;
        // A file of a single plugin gives its chain no more than its version and its name.
        let is_list = self.object.get("plugins").is_some();
        let kept = self
            .object
            .0
            .iter()
            .filter(|(key, _)| key != "plugins" && (is_list || key == "cniVersion" || key == "name"));
        let mut entries: Vec<_> = kept.cloned().collect();
        entries.push(("plugins".to_owned(), plugins));
        Ok(serde_json::to_string(&Object(entries))? + "\n")
    }
}
