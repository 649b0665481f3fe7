//! Objects that we hand to users or to clusters of ours, as a real API server takes them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod manifest;
mod matrix;
mod older;
mod trial;
