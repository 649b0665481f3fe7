//! Facts about the machine that numbers depend on.

use std::fs;
use std::thread;

use serde::Serialize;
use weir_common::names::LAYOUT_VERSION;

/// The machine, without what would tell whose it is.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    pub kernel: String,
    pub cores: usize,
    pub cpu: String,
    /// Average load when the measurements began: other work spreads the numbers.
    pub load: String,
    /// Directories of pins of other Weir agents: their programs run for the measured connections too.
    pub other_agents: usize,
}

impl Machine {
    pub fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let load = read("/proc/loadavg");
        Self {
            kernel: version(&read("/proc/sys/kernel/osrelease")),
            cores: thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu_model(&read("/proc/cpuinfo")),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
            other_agents: other_agents(),
        }
    }
}

/// The numbers alone: what follows them may name who built the kernel.
fn version(release: &str) -> String {
    release.trim().split('-').next().unwrap_or_default().to_owned()
}

fn cpu_model(cpuinfo: &str) -> String {
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

fn other_agents() -> usize {
    let entries = fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let links = fs::read_dir(entry.path().join(format!("v{LAYOUT_VERSION}/links")));
            links.is_ok_and(|mut links| links.next().is_some())
        })
        .count()
}
