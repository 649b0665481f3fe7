//! How pods are connected to their node, and what can be done for them: facts are read, never guessed, and a pure
//! function chooses.
//!
//! Each of use alone:
//!
//! - [`read::pod`] reads what there is in a pod's network namespace: [`facts::PodFacts`].
//! - [`read::node`] reads what there is in the node's: [`facts::NodeFacts`].
//! - [`cni::read`] reads what the container runtime is configured to call, and [`cni::identify`] says which plugin
//!   connected a pod, how sure that is, and what speaks for it.
//! - [`facts::KernelFacts`] say what the kernel can do.
//! - [`choose::choose`] says, from these facts alone, on which path the pod's connections get to ztunnel, why, and
//!   what would make possible what is not.
//!
//! ```no_run
//! use std::fs::File;
//! use std::os::fd::AsFd as _;
//! use weir_netdetect::choose::{ChoiceConfig, Contract, choose};
//! use weir_netdetect::facts::KernelFacts;
//! use weir_netdetect::read::{self, Known};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let host = File::open("/proc/1/ns/net")?;
//! let pod = File::open("/run/netns/cni-1234")?;
//! let facts = read::pod(pod.as_fd(), &Known::new(host.as_fd()))?;
//! let plan = choose(&facts, Contract::InPod, &KernelFacts::of_this_kernel()?, &ChoiceConfig::default());
//! println!("outbound: {}, {}", plan.outbound.path, plan.outbound.why);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here changes anything, and no external program is run.
#![forbid(unsafe_code)]

pub mod choose;
pub mod cni;
pub mod facts;
pub mod read;
pub mod report;
