//! Network worlds in namespaces.
#![forbid(unsafe_code)]

pub mod actor;
pub mod address;
pub mod capture;
pub mod cgroup;
pub mod deadline;
pub mod link;
pub mod mac;
pub mod mountinfo;
pub mod netlink;
pub mod netns;
pub mod process;
pub mod proxy;
pub mod publish;
pub mod residue;
pub mod route;
pub mod traffic;
pub mod unique;
pub mod world;
