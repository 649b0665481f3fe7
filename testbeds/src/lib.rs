//! Network worlds in namespaces.
#![forbid(unsafe_code)]

pub mod address;
pub mod link;
pub mod mac;
pub mod netlink;
pub mod netns;
pub mod packet;
pub mod process;
pub mod publish;
pub mod route;
pub mod world;
