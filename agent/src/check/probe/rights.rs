//! The rights of this process.

use std::fs;

use crate::check::Outcome;
use crate::check::feature::Capability;

/// The effective set.
pub struct Rights(u64);

impl Rights {
    /// Of the calling thread; none if they cannot be read.
    pub fn in_effect() -> Self {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        Self(effective(&status).unwrap_or(0))
    }

    pub fn check(&self, capability: Capability) -> Outcome {
        if self.has(capability) {
            return Outcome::ok("");
        }
        // The kernel lets the old, wide right stand in for the two that were split off it in 5.8.
        let was_split_off = matches!(capability, Capability::Bpf | Capability::Perfmon);
        if was_split_off && self.has(Capability::SysAdmin) {
            return Outcome::ok("by CAP_SYS_ADMIN");
        }
        Outcome::denied("not in this process's effective set")
    }

    fn has(&self, capability: Capability) -> bool {
        self.0 >> capability as u8 & 1 == 1
    }
}

fn effective(status: &str) -> Option<u64> {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{Capability, Rights, effective};
    use crate::check::State;

    #[test]
    fn the_effective_set_is_read_and_not_another() {
        let status = "Name:\tx\nCapPrm:\tffff\nCapEff:\t0000000000201000\nCapBnd:\tffff\n";
        assert_eq!(effective(status), Some(1 << 21 | 1 << 12));
        assert_eq!(effective("CapEff: what"), None);
    }

    #[test]
    fn cap_sys_admin_covers_what_was_split_off_it_and_nothing_else() {
        let rights = Rights(1 << 21);
        assert_eq!(rights.check(Capability::Bpf).state, State::Ok);
        assert_eq!(rights.check(Capability::Perfmon).state, State::Ok);
        assert_eq!(rights.check(Capability::NetAdmin).state, State::Denied);
        assert_eq!(Rights(0).check(Capability::Bpf).state, State::Denied);
    }
}
