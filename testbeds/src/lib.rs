//! Network worlds in namespaces, traffic to try in them, and the proof that nothing is left behind.
//!
//! A world is a node, a remote host and pods, wired as CNI plugins wire them. Servers and clients report the
//! addresses they saw, so a test asserts on who received which bytes from whom.
//!
//! ```no_run
//! use std::net::SocketAddr;
//! use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec};
//! use weir_testbeds::world::{Family, Wiring, World};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let world = World::builder("hello")
//!     .wiring(Wiring::PointToPoint)
//!     .family(Family::Dual)
//!     .pods(["client", "server"])
//!     .build()?;
//! let (client, server) = (world.pod("client"), world.pod("server"));
//! for to in server.addresses().iter() {
//!     let app = Server::start(&server.netns, &ServerSpec::new("app", SocketAddr::new(to, 0)))?;
//!     let seen = Client::exchange(&client.netns, &ClientSpec::to(app.address()))?;
//!     assert_eq!(seen.server.peer.ip(), client.address_like(to).expect("a client of the same family"));
//!     assert_eq!(seen.peer, app.address());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Code that runs inside a namespace goes through [`netns::Netns::run`]; what depends on a cgroup goes through an
//! [`actor::Actor`], a process of its own. Worlds need root.
#![forbid(unsafe_code)]

pub mod actor;
pub mod address;
pub mod capture;
pub mod cgroup;
pub mod cni;
pub mod deadline;
pub mod demo;
pub mod drivers;
pub mod link;
pub mod mac;
pub mod mesh;
pub mod mountinfo;
pub mod netlink;
pub mod netns;
pub mod packet;
pub mod process;
pub mod proxy;
pub mod publish;
pub mod residue;
pub mod route;
pub mod rule;
pub mod traffic;
pub mod unique;
pub mod world;
