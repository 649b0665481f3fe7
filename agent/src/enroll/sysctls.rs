//! Settings of a pod's netns that capturing needs.

use std::io;

use super::EnrollError;
use crate::inside::Sysctls;

/// A setting; the table says why each is needed.
struct Setting {
    name: &'static str,
    /// What a new namespace has. Another value is somebody's choice, and left alone.
    default: &'static str,
    /// A kernel or a pod without IPv6 does without.
    family: Family,
    when: When,
}

/// When a setting has to be on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before the first connection.
    Urgent,
    /// Before so many connections that no pod makes them at once. To find a setting takes long, so nobody waits for it.
    Late,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Those of TCP are here too, whatever the family.
    V4,
    V6,
}

const ON: &str = "1";
const OFF: &str = "0";
/// The pod's own affair; whether it is on is asked all the same.
const TIMESTAMPS: &str = "net.ipv4.tcp_timestamps";

/// All of them are switched from their defaults to [`ON`]. Agents of other layouts go by the order: what comes new
/// comes last.
const SETTINGS: [Setting; 4] = [
    // The application's accepted socket takes the mark of ztunnel's SYN, so its answers come back over loopback.
    Setting {
        name: "net.ipv4.tcp_fwmark_accept",
        default: "0",
        family: Family::V4,
        when: When::Urgent,
    },
    // The refusal of a closed port has no socket to take a mark from.
    Setting {
        name: "net.ipv4.fwmark_reflect",
        default: "0",
        family: Family::V4,
        when: When::Urgent,
    },
    Setting {
        name: "net.ipv6.fwmark_reflect",
        default: "0",
        family: Family::V6,
        when: When::Urgent,
    },
    // ztunnel goes on to a destination outside the mesh from a second port of the pod, and both rest when the
    // connection is over: without this half as many connections per minute as before capturing use up the ports.
    Setting {
        name: "net.ipv4.tcp_tw_reuse",
        default: "2",
        family: Family::V4,
        when: When::Late,
    },
];

/// Settings that were switched on by [`ensure`], as bits in the order of the table.
pub type Changed = u32;

/// Which settings a pod needs, and by when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Whether its connections by IPv6 are captured.
    pub v6: bool,
    /// Whether those are needed too that nobody waits for.
    pub late: bool,
}

/// Switches the settings on, in the namespace that the calling thread is in. Which it will be is noted first: whoever
/// dies in between leaves nothing on that nobody knows of, and what was noted in vain is off already when it is to be
/// switched back.
///
/// # Errors
/// That of `note`: nothing is switched then. [`EnrollError::Sysctl`]: what was switched is switched back.
pub fn ensure(
    sysctls: &mut Sysctls,
    needed: Needed,
    note: impl FnOnce(Changed) -> Result<(), EnrollError>,
) -> Result<(), EnrollError> {
    let (mut wanted, mut off) = (0, Vec::new());
    for (bit, setting) in needed.settings() {
        // Most of what a setting takes is to find it, so it is found once.
        let found = sysctls.open(setting.name).map_err(failed(setting))?;
        if found.read().map_err(failed(setting))? == setting.default {
            wanted |= 1 << bit;
            off.push((setting, found));
        }
    }
    note(wanted)?;
    let mut off = off.iter();
    let switched = off.try_for_each(|(setting, found)| found.write(ON).map_err(failed(setting)));
    if switched.is_err() {
        restore(sysctls, wanted)?;
    }
    switched
}

/// Switches back what was `changed`.
///
/// # Errors
/// [`EnrollError::Sysctl`].
pub fn restore(sysctls: &mut Sysctls, changed: Changed) -> Result<(), EnrollError> {
    of(changed).try_for_each(|setting| {
        let found = sysctls.open(setting.name).map_err(failed(setting))?;
        match found.read().map_err(failed(setting))?.as_str() {
            ON => found.write(setting.default).map_err(failed(setting)),
            // Somebody has chosen another value since.
            _ => Ok(()),
        }
    })
}

fn of(changed: Changed) -> impl Iterator<Item = &'static Setting> {
    let settings = SETTINGS.iter().enumerate();
    settings
        .filter(move |(bit, _)| changed & (1 << bit) != 0)
        .map(|(_, setting)| setting)
}

fn failed(setting: &Setting) -> impl FnOnce(io::Error) -> EnrollError {
    let name = setting.name;
    move |source| EnrollError::Sysctl { name, source }
}

impl Needed {
    fn settings(self) -> impl Iterator<Item = (usize, &'static Setting)> {
        let settings = SETTINGS.iter().enumerate();
        settings.filter(move |(_, setting)| {
            (self.v6 || setting.family == Family::V4) && (self.late || setting.when == When::Urgent)
        })
    }
}

/// Whether all settings are on that [`ensure`] switches on.
///
/// # Errors
/// [`EnrollError::Sysctl`].
pub fn are_on(sysctls: &mut Sysctls, needed: Needed) -> Result<bool, EnrollError> {
    for (_, setting) in needed.settings() {
        match sysctls.read(setting.name) {
            Ok(value) if value != setting.default => {}
            Ok(_) => return Ok(false),
            Err(source) => return Err(failed(setting)(source)),
        }
    }
    Ok(true)
}

/// Whether the kernel can tell a new connection from an old one by timestamps, and so let it have the old one's port.
///
/// # Errors
/// [`EnrollError::Sysctl`].
pub fn has_timestamps(sysctls: &mut Sysctls) -> Result<bool, EnrollError> {
    let value = sysctls.read(TIMESTAMPS).map_err(|source| EnrollError::Sysctl {
        name: TIMESTAMPS,
        source,
    })?;
    Ok(value != OFF)
}

#[cfg(test)]
mod tests;
