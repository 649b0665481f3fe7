//! The agent's source of pods, and its reports, against a real API server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod crashing;
mod follow;
mod plugin;
mod reports;
mod rights;
mod scene;
