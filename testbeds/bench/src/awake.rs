//! Keeps the cores from sleeping: where a lone client waits for one answer at a time, most of what is measured would be
//! how long they take to wake, which on a virtual machine is much and differs from one moment to the next.

use std::fs::File;
use std::io::Write as _;

use anyhow::{Context as _, Result};

const LATENCY: &str = "/dev/cpu_dma_latency";

/// No core sleeps while this lives, if the kernel lets itself be told so.
pub struct Awake {
    _held: Option<File>,
}

impl Awake {
    /// Begins.
    pub fn begin() -> Result<Self> {
        let Ok(mut latency) = File::options().write(true).open(LATENCY) else {
            return Ok(Self { _held: None });
        };
        // Microseconds that waking may take; it holds as long as the file is open.
        latency.write_all(&0_i32.to_ne_bytes()).context(LATENCY)?;
        Ok(Self { _held: Some(latency) })
    }
}
