//! A stand-in for ztunnel: the same sockets, the same protocol with the node agent, tunnels in clear.
//!
//! It exists so that redirection can be tested and measured without a control plane, certificates and TLS, and
//! because it writes down what it saw: see [`record::Record`].
#![forbid(unsafe_code)]

pub mod cli;
pub mod dns;
pub mod mesh;
pub mod netns;
pub mod original_dst;
pub mod preface;
pub mod record;
pub mod route;
pub mod run;
pub mod sockets;
pub mod tunnel;
pub mod zds;
