//! What the programs of the node contract make of packets of every shape: verdict, bytes, mark, and what they count.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../own_datapath/mod.rs"]
mod own_datapath;

mod eras;
mod implied;
mod pairs;
mod pod_in;
mod pod_out;
mod recent;
mod scene;
mod shapes;
mod steer;
mod ztunnel;
