//! The source of pods against an API server that does what real ones do on bad days.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod bad_days;
mod fake;
mod find;
mod follow;
mod report;
mod scene;
mod shapes;
