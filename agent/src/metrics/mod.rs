//! Metrics in Prometheus' text format.

mod gather;
mod render;
pub mod table;
mod text;

pub use gather::{Snapshot, gather};
pub use render::render;
pub use table::documentation;

/// The type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
