//! What this machine can do for Weir: found by trying, judged by a table.
//!
//! [`feature`] is the table, [`verdict`] judges results, `probe` gets them. Nothing that is tried touches the
//! machine: it happens in a cgroup and a network namespace of the probe's own.

mod explain;
pub mod feature;
mod probe;
pub mod verdict;

pub use feature::{FEATURES, Feature};
pub use probe::try_everything;
pub use verdict::{Finding, Outcome, Readiness, Report, State};
