//! Names that no other process uses, and that say whose they are.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

/// What all names of ours begin with.
pub const PREFIX: &str = "weir-test-";

/// A process, told apart from a later one with the same id by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    process: u32,
    started: u64,
}

impl Owner {
    /// This process.
    pub fn this() -> Self {
        let process = std::process::id();
        Self {
            process,
            started: Stat::of(process).map_or(0, |stat| stat.started),
        }
    }

    /// Another process that is running.
    pub fn of(process: u32) -> Option<Self> {
        Some(Self {
            process,
            started: Stat::of(process)?.started,
        })
    }

    /// What this owner's names begin with.
    pub fn prefix(&self) -> String {
        format!("{PREFIX}{}-{}-", self.process, self.started)
    }

    /// Whether the process still runs.
    pub fn is_alive(&self) -> bool {
        Stat::of(self.process).is_some_and(|stat| stat.started == self.started)
    }

    /// Its children that still run.
    pub fn children(&self) -> Vec<u32> {
        // Not every kernel has /proc/…/children.
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        processes
            .filter(|process| Stat::of(*process).is_some_and(|stat| stat.parent == self.process))
            .collect()
    }

    /// Whose name this is; `None` if it is none of ours.
    pub fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.split('-');
        let (process, started) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { process, started })
    }
}

/// A new name that ends in `label`.
pub fn name(label: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}{}-{label}",
        Owner::this().prefix(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// What `/proc/…/stat` says about a process that has not ended.
struct Stat {
    parent: u32,
    started: u64,
}

impl Stat {
    fn of(process: u32) -> Option<Self> {
        let line = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The command may hold spaces and parentheses; what follows the last one does not.
        let (_, fields) = line.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // Field 22 of the whole line, of which 4 have been read. A zombie holds nothing any more.
        let started = fields.nth(17)?.parse().ok().filter(|_| state != "Z")?;
        Some(Self { parent, started })
    }
}
