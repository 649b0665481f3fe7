//! CPU time of the machine and of one process.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

/// How much CPU time has been used up to a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    machine: u64,
    process: u64,
}

impl CpuTime {
    /// Now; without a process its part is zero.
    pub fn now(process: Option<u32>) -> Result<Self> {
        let machine = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let process = match process {
            Some(id) => {
                let path = format!("/proc/{id}/stat");
                process_ticks(&fs::read_to_string(&path).context(path)?).unwrap_or(0)
            }
            None => 0,
        };
        Ok(Self {
            machine: machine_ticks(&machine),
            process,
        })
    }

    /// Of the machine, since an earlier moment.
    pub fn machine_since(&self, earlier: &Self) -> Result<Duration> {
        duration(self.machine.saturating_sub(earlier.machine))
    }

    /// Of the process, since an earlier moment.
    pub fn process_since(&self, earlier: &Self) -> Result<Duration> {
        duration(self.process.saturating_sub(earlier.process))
    }
}

fn duration(ticks: u64) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel does not tell its clock tick")?;
    #[expect(clippy::cast_precision_loss, reason = "ticks of hours are exact")]
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// user, nice, system, and the time in interrupts; not idle, waiting or stolen time.
fn machine_ticks(stat: &str) -> u64 {
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|index| fields.get(*index))
        .sum()
}

/// user and system time: fields 14 and 15; the name before them may hold spaces.
fn process_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::{machine_ticks, process_ticks};

    #[test]
    fn idle_and_stolen_time_do_not_count() {
        assert_eq!(machine_ticks("cpu  1 2 4 800 800 8 16 800 0 0\ncpu0 9 9 9\n"), 31);
    }

    #[test]
    fn a_name_with_spaces_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 1 1 0 -1 0 0 0 0 0 30 12 5 5 20 0";
        assert_eq!(process_ticks(stat), Some(42));
    }
}
