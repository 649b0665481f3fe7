//! CPU time of the programs that ran, and of the agent.

use std::fs;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::unistd::{SysconfVar, sysconf};

/// In user and kernel together.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// Of children that have ended.
    pub children: Duration,
    /// Of the agent, with threads that have ended.
    pub agent: Duration,
}

impl CpuTime {
    /// So far.
    pub fn read(agent: u32) -> Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        Ok(Self {
            children: duration(usage.user_time()) + duration(usage.system_time()),
            agent: of_process(agent)?,
        })
    }

    /// What has been used since.
    pub fn since(self, before: Self) -> Self {
        Self {
            children: self.children.saturating_sub(before.children),
            agent: self.agent.saturating_sub(before.agent),
        }
    }
}

impl AddAssign for CpuTime {
    fn add_assign(&mut self, other: Self) {
        self.children += other.children;
        self.agent += other.agent;
    }
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Its 14th and 15th fields, in ticks.
fn of_process(id: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name before them may have spaces in it.
    let (_, fields) = stat.rsplit_once(") ").context("a stat without a name")?;
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse().unwrap_or(0))
        .sum();
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no length of a tick")?;
    let per_second = u64::try_from(per_second)?;
    Ok(Duration::from_millis(ticks * 1000 / per_second))
}
