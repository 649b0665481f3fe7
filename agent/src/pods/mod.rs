//! Pods of this node: where they come from, which of them are enrolled, what of their traffic is captured,
//! and where their network namespace is.
#![forbid(unsafe_code)]

pub mod capture;
pub mod netns;
pub mod pod;
pub mod select;
pub mod source;

#[cfg(test)]
pub(crate) mod scratch;
