//! Every wiring that worlds are built with is recognised for what it is.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod every;
mod odd;
mod support;
