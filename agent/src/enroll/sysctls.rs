//! Settings of a pod's netns that capturing needs.

use std::io;

use super::EnrollError;
use crate::inside::{read_sysctl, write_sysctl};

/// A setting; the table says why each is needed.
struct Setting {
    name: &'static str,
    /// What a new namespace has. Another value is somebody's choice, and left alone.
    default: &'static str,
    /// A kernel without the family does not have the setting either.
    optional: bool,
}

const ON: &str = "1";
const OFF: &str = "0";
/// The pod's own affair; whether it is on is asked all the same.
const TIMESTAMPS: &str = "net.ipv4.tcp_timestamps";

/// All of them are switched from their defaults to [`ON`].
const SETTINGS: [Setting; 4] = [
    // The application's accepted socket takes the mark of ztunnel's SYN, so its answers come back over loopback.
    Setting {
        name: "net.ipv4.tcp_fwmark_accept",
        default: "0",
        optional: false,
    },
    // The refusal of a closed port has no socket to take a mark from.
    Setting {
        name: "net.ipv4.fwmark_reflect",
        default: "0",
        optional: false,
    },
    Setting {
        name: "net.ipv6.fwmark_reflect",
        default: "0",
        optional: true,
    },
    // ztunnel goes on to a destination outside the mesh from a second port of the pod, and both rest when the
    // connection is over: without this half as many connections per minute as before capturing use up the ports.
    Setting {
        name: "net.ipv4.tcp_tw_reuse",
        default: "2",
        optional: false,
    },
];

/// Settings that were switched on by [`ensure`], as bits in the order of the table.
pub type Changed = u32;

/// Switches the settings on, in the namespace that the calling thread is in.
///
/// # Errors
/// [`EnrollError::Sysctl`]; what was switched is switched back.
pub fn ensure() -> Result<Changed, EnrollError> {
    let mut changed = 0;
    for (bit, setting) in SETTINGS.iter().enumerate() {
        match switch(setting, setting.default, ON) {
            Ok(true) => changed |= 1 << bit,
            Ok(false) => {}
            Err(source) => {
                restore(changed)?;
                return Err(EnrollError::Sysctl {
                    name: setting.name,
                    source,
                });
            }
        }
    }
    Ok(changed)
}

/// Switches back what was `changed`.
///
/// # Errors
/// [`EnrollError::Sysctl`].
pub fn restore(changed: Changed) -> Result<(), EnrollError> {
    for (bit, setting) in SETTINGS.iter().enumerate() {
        if changed & (1 << bit) != 0 {
            switch(setting, ON, setting.default).map_err(|source| EnrollError::Sysctl {
                name: setting.name,
                source,
            })?;
        }
    }
    Ok(())
}

/// Whether all settings are on.
///
/// # Errors
/// [`EnrollError::Sysctl`].
pub fn are_on() -> Result<bool, EnrollError> {
    for setting in &SETTINGS {
        match read_sysctl(setting.name) {
            Ok(value) if value != setting.default => {}
            Err(error) if setting.optional && error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => return Ok(false),
            Err(source) => {
                return Err(EnrollError::Sysctl {
                    name: setting.name,
                    source,
                });
            }
        }
    }
    Ok(true)
}

/// Whether the kernel can tell a new connection from an old one by timestamps, and so let it have the old one's port.
///
/// # Errors
/// [`EnrollError::Sysctl`].
pub fn has_timestamps() -> Result<bool, EnrollError> {
    let value = read_sysctl(TIMESTAMPS).map_err(|source| EnrollError::Sysctl {
        name: TIMESTAMPS,
        source,
    })?;
    Ok(value != OFF)
}

/// Writes only over the value `from`; says whether it was there.
fn switch(setting: &Setting, from: &str, to: &str) -> io::Result<bool> {
    match read_sysctl(setting.name) {
        Ok(current) if current == from => write_sysctl(setting.name, to).map(|()| true),
        Ok(_) => Ok(false),
        Err(error) if setting.optional && error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
