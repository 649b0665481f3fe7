//! What is read about pods, nodes and kernels.

mod interface;
mod kernel;
mod kind;
mod mac;
mod netns;
mod node;
mod pod;
mod program;
mod route;
mod rule;

pub use interface::{FarEnd, Interface};
pub use kernel::{KernelError, KernelFacts, KernelVersion};
pub(crate) use kernel::{PACKETS, SOCKETS};
pub use kind::{IpvlanMode, Kind, MacvlanMode, NetkitMode};
pub use mac::Mac;
pub use netns::{NetnsId, Place};
pub use node::{Leftover, NodeFacts, Settings};
pub use pod::PodFacts;
pub use program::{Attached, Direction, Hook, Owner};
pub use route::{DefaultRoutes, Family, Route};
pub use rule::{Clash, Rule, RuleOwner};
