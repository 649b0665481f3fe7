//! Network worlds in namespaces.
#![forbid(unsafe_code)]

pub mod link;
pub mod netlink;
pub mod netns;
pub mod process;
pub mod publish;
