//! Settings of a pod's netns that capturing needs.

use std::io;

use super::EnrollError;
use crate::inside::{read_sysctl, write_sysctl};

/// A setting, and why it is needed.
struct Setting {
    name: &'static str,
    /// A kernel without the family does not have the setting either.
    optional: bool,
}

/// All of them are switched from 0 to 1.
const SETTINGS: [Setting; 3] = [
    // The application's accepted socket takes the mark of ztunnel's SYN, so its answers come back over loopback.
    Setting {
        name: "net.ipv4.tcp_fwmark_accept",
        optional: false,
    },
    // The refusal of a closed port has no socket to take a mark from.
    Setting {
        name: "net.ipv4.fwmark_reflect",
        optional: false,
    },
    Setting {
        name: "net.ipv6.fwmark_reflect",
        optional: true,
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
        match switch(setting, "1") {
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
            switch(setting, "0").map_err(|source| EnrollError::Sysctl {
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
            Ok(value) if value == "1" => {}
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

/// Writes only a difference; says whether there was one.
fn switch(setting: &Setting, value: &str) -> io::Result<bool> {
    match read_sysctl(setting.name) {
        Ok(current) if current == value => Ok(false),
        Ok(_) => write_sysctl(setting.name, value).map(|()| true),
        Err(error) if setting.optional && error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
