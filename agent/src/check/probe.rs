//! Trying what the table lists.

mod cgroup;
mod helper;
mod hook;
mod machine;
mod mounts;
mod netns;
mod rights;
mod trial;

use std::io;
use std::path::Path;
use std::time::SystemTime;
use std::{process, thread};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use super::feature::{FEATURES, Probe};
use super::verdict::{Finding, Outcome, Report};
use cgroup::ProbeCgroup;
use mounts::Mounts;
use netns::PrivateNetns;
use rights::Rights;

/// Where probes happen, and what is known from the start. Made on a thread of its own, and gone with it.
struct Site {
    rights: Rights,
    mounts: Mounts,
    netns: Result<PrivateNetns, Outcome>,
    cgroup: Result<ProbeCgroup, Outcome>,
}

/// Tries every feature of the table; cgroup programs below `cgroup`, or where cgroup2 is mounted.
///
/// # Errors
/// When no thread can be started: namespaces are switched only on a thread that ends afterwards.
pub fn try_everything(cgroup: Option<&Path>) -> io::Result<Report> {
    let probes = || {
        let site = Site::prepare(cgroup);
        let findings = FEATURES.iter().map(|feature| Finding {
            feature,
            outcome: site.probe(feature.probe),
        });
        Report::new(findings.collect())
    };
    let _uninterrupted = Uninterrupted::new();
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("check".to_owned())
            .spawn_scoped(scope, probes)?;
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

/// Signals that would end the process wait while this lives: what was made is removed first.
struct Uninterrupted {
    /// What was blocked before; without it nothing was changed, and the probes are only less tidy.
    before: Option<SigSet>,
}

impl Uninterrupted {
    fn new() -> Self {
        let signals: SigSet = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]
            .into_iter()
            .collect();
        Self {
            before: signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok(),
        }
    }
}

impl Drop for Uninterrupted {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.before.map(|before| before.thread_set_mask()) {
            tracing::warn!(%error, "SIGINT and SIGTERM stay blocked");
        }
    }
}

/// A name that no other probe has: process ids alone repeat from container to container.
#[expect(clippy::disallowed_methods, reason = "a number, not a span")]
fn unique_name() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("weir_check_{}_{}", process::id(), now.as_nanos())
}

impl Site {
    fn prepare(cgroup: Option<&Path>) -> Self {
        let mounts = Mounts::of_this_process();
        Self {
            rights: Rights::in_effect(),
            netns: PrivateNetns::enter(),
            cgroup: ProbeCgroup::create(cgroup.or(mounts.cgroup2())),
            mounts,
        }
    }

    fn probe(&self, probe: Probe) -> Outcome {
        match probe {
            Probe::Kernel => machine::kernel(),
            Probe::Since(major, minor) => machine::since((major, minor)),
            Probe::Btf => machine::btf(),
            Probe::Cgroup2 => machine::cgroup2(&self.mounts),
            Probe::Bpffs => machine::bpffs(&self.mounts),
            Probe::Capability(capability) => self.rights.check(capability),
            Probe::Map(kind) => trial::result(trial::map(kind)),
            Probe::CgroupHook(attach) => self.in_cgroup(|cgroup| hook::cgroup(cgroup, attach)),
            Probe::SkLookup => self.in_netns(hook::sk_lookup),
            Probe::Tcx => self.in_netns(|_| hook::tcx()),
            Probe::Clsact => self.in_netns(|_| hook::clsact()),
            Probe::Helper(call) => trial::result(helper::load(call)),
            Probe::Sysctl(name) => self.in_netns(|_| netns::sysctl(name)),
            Probe::NetnsCookie => netns::cookie(),
            Probe::SocketTable => self.in_netns(netns::socket_table),
            Probe::PidfdGetfd => machine::pidfd_getfd(),
        }
    }

    fn in_netns(&self, probe: impl FnOnce(&PrivateNetns) -> Outcome) -> Outcome {
        self.netns.as_ref().map_or_else(Outcome::clone, probe)
    }

    fn in_cgroup(&self, probe: impl FnOnce(&ProbeCgroup) -> Outcome) -> Outcome {
        self.cgroup.as_ref().map_or_else(Outcome::clone, probe)
    }
}
