//! Every wiring that worlds are built with is recognised for what it is.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

mod every;
mod node;
mod odd;
mod support;
#[path = "../wiring_table/mod.rs"]
mod wiring_table;
