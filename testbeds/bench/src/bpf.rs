//! How often Weir's programs run, and how long.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use weir_agent::datapath::sys::{
    self, Insn, Objects, ProgramRuns, ProgramSpec, ProgramType, Register, TestInput,
};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Pins of maps are not looked at.
const MAPS: &str = "maps";

/// The kernel counts runs while this lives.
pub struct Counting {
    before: String,
}

impl Counting {
    pub fn start() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).context(SWITCH)?;
        fs::write(SWITCH, "1").context(SWITCH)?;
        Ok(Self { before })
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Left on it costs some nanoseconds per run and nothing else.
        fs::write(SWITCH, self.before.trim()).unwrap_or_default();
    }
}

/// The runs of every program, by its name and the kernel's number for it: an agent that verifies a pod may give it a
/// new instance, which counts from zero.
pub type Runs = BTreeMap<(String, u32), ProgramRuns>;

/// The same by name alone: instances for several pods are one.
pub type RunsByName = BTreeMap<String, ProgramRuns>;

/// The runs so far of the programs whose links are pinned below `root`.
pub fn runs(root: &Path) -> Result<Runs> {
    let mut runs = Runs::new();
    collect(root, &mut runs).with_context(|| root.display().to_string())?;
    Ok(runs)
}

/// What was added in the meantime.
pub fn since(before: &Runs, after: &Runs) -> RunsByName {
    let mut added = RunsByName::new();
    for (key, runs) in after {
        let earlier = before.get(key).copied().unwrap_or_default();
        let sum = added.entry(key.0.clone()).or_default();
        sum.count += runs.count - earlier.count;
        sum.time += runs.time - earlier.time;
    }
    added.retain(|_, runs| runs.count > 0);
    added
}

fn collect(directory: &Path, runs: &mut Runs) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_dir() {
            let (program, counted) = link_runs(&entry.path())?;
            runs.extend(counted.map(|counted| ((name, program), counted)));
        } else if name != MAPS {
            collect(&entry.path(), runs)?;
        }
    }
    Ok(())
}

fn link_runs(pin: &Path) -> Result<(u32, Option<ProgramRuns>)> {
    let link = sys::obj_get(pin)?;
    let id = sys::link_info(link.as_fd())?.program_id;
    Ok((id, runs_of(id)?))
}

/// The runs so far of the program with this number; nothing if it has just given way to another instance.
pub fn runs_of(id: u32) -> Result<Option<ProgramRuns>> {
    match sys::fd_by_id(Objects::Programs, id) {
        Ok(program) => Ok(Some(sys::program_runs(program.as_fd())?)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A program that does nothing, and lets the next one at the hook run.
pub fn empty_program() -> Result<OwnedFd> {
    const GO_ON: i32 = -1;
    Ok(sys::prog_load(&ProgramSpec {
        kind: ProgramType::SCHED_CLS,
        attach: None,
        insns: &[Insn::set(Register::R0, GO_ON), Insn::exit()],
        license: c"GPL",
        name: "weir_bench",
    })?)
}

/// How long such a program seems to take: what looking at the clock costs, which every run is charged with.
pub fn floor() -> Result<Duration> {
    const REPEAT: u32 = 1_000_000;
    let nothing = empty_program()?;
    let input = TestInput {
        packet: &[0; 64],
        context: &[],
        repeat: REPEAT,
    };
    let _counting = Counting::start()?;
    sys::prog_test_run(nothing.as_fd(), &input)?;
    Ok(sys::program_runs(nothing.as_fd())?.time / REPEAT)
}

/// Packets that a namespace's interfaces have sent and received, as the kernel counts them there.
pub fn packets(netns: &weir_testbeds::netns::Netns) -> io::Result<u64> {
    let table = netns.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
    Ok(table.lines().filter_map(packets_of).sum())
}

/// The second number is of packets received, the tenth of packets sent.
fn packets_of(line: &str) -> Option<u64> {
    let (_, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    Some(numbers.get(1)? + numbers.get(9)?)
}

#[cfg(test)]
mod tests {
    use super::packets_of;

    #[test]
    fn sent_and_received_packets_count() {
        assert_eq!(
            packets_of("  eth0: 1500 3 0 0 0 0 0 0 2500 4 0 0 0 0 0 0"),
            Some(7)
        );
        assert_eq!(packets_of(" face |bytes packets"), None);
    }
}
