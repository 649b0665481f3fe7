//! Inputs that nobody thought of: each function takes any bytes, and must neither panic nor break what it asserts.
//!
//! `./x test fuzz` has libFuzzer look for bytes that do, a minute for each; without it the same functions are tried with
//! the seeds (`tests/seeds.rs`), and with files that are named: `cargo run -p weir-fuzz --bin netlink -- FILE`.
#![forbid(unsafe_code)]

mod cni_configuration;
mod cni_plugin;
mod netlink;

use std::{env, fs, io};

pub use cni_configuration::cni_configuration;
pub use cni_plugin::cni_plugin;
pub use netlink::netlink;

/// A function to be fuzzed.
pub type Target = fn(&[u8]);

/// All of them, by the names of their programs and of their seeds' directories.
pub const TARGETS: [(&str, Target); 3] = [
    ("cni_configuration", cni_configuration),
    ("cni_plugin", cni_plugin),
    ("netlink", netlink),
];

/// Tries the files that the arguments name.
///
/// # Errors
/// One that cannot be read.
pub fn replay(target: Target) -> io::Result<()> {
    env::args_os()
        .skip(1)
        .try_for_each(|file| fs::read(file).map(|input| target(&input)))
}
