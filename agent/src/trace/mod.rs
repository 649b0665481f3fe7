//! Live decisions of the kernel side, for as long as somebody listens.

mod clock;
mod decision;
mod reader;
mod tracer;

pub use tracer::{Listener, TraceError, Tracer};
