//! One line of a watch.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::shape::{Metadata, Object};
use crate::api_server::{Action, ApiError};

/// What it says.
#[derive(Debug)]
pub(super) enum Event<T> {
    /// An object is new, or different.
    Put(T),
    /// An object is gone.
    Gone(T),
    /// Nothing, up to this version.
    Bookmark(String),
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

#[derive(Deserialize)]
struct Marked {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

/// Reads a line. The server's own error is one too.
pub(super) fn read_event<T: Object>(action: Action, line: &[u8]) -> Result<Event<T>, ApiError> {
    let read = || -> Result<Result<Event<T>, Refusal>, serde_json::Error> {
        let written: Written<'_> = serde_json::from_slice(line)?;
        let object = written.object.get();
        Ok(match written.kind {
            Kind::Added | Kind::Modified => Ok(Event::Put(serde_json::from_str(object)?)),
            Kind::Deleted => Ok(Event::Gone(serde_json::from_str(object)?)),
            Kind::Bookmark => {
                let marked: Marked = serde_json::from_str(object)?;
                Ok(Event::Bookmark(marked.metadata.resource_version))
            }
            Kind::Error => Err(serde_json::from_str(object)?),
        })
    };
    match read() {
        Ok(Ok(event)) => Ok(event),
        Ok(Err(Refusal { code, message })) => Err(ApiError::from_answer(action, code, message)),
        Err(source) => Err(ApiError::Garbage { action, source }),
    }
}
