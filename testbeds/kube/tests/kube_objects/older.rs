//! What servers that are older than our objects lack.

use serde_json::{Value, json};

/// Fields, and the minor version of Kubernetes that brought them. Older ones drop them, but not on server-side apply.
const NEWER: &[(&str, u32)] = &[("appArmorProfile", 30)];
/// Before it server-side apply takes no port without its protocol.
const KNOWS_DEFAULT_PROTOCOL: u32 = 21;

/// The object without what a server of this version cannot know.
pub fn as_of(minor: u32, object: &mut Value) {
    match object {
        Value::Object(fields) => {
            fields.retain(|name, _| !NEWER.iter().any(|(newer, since)| name == newer && minor < *since));
            if minor < KNOWS_DEFAULT_PROTOCOL {
                let ports = fields.get_mut("ports").and_then(Value::as_array_mut);
                for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
                    port.entry("protocol").or_insert(json!("TCP"));
                }
            }
            fields.values_mut().for_each(|field| as_of(minor, field));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| as_of(minor, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
