//! The plugin as a process, called as a runtime calls it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod calls;
mod malformed;
mod support;
