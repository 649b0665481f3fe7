//! CPU time of the programs that ran, and of the agent.

use std::ops::AddAssign;
use std::time::Duration;

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

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

/// To the nanosecond: one pod takes less than a tick.
fn of_process(id: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(id)?))?;
    Ok(clock.now()?.into())
}
