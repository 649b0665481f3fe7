//! Wirings whose drivers not every kernel has: where they may be left out, and where that would hide something.

use std::path::Path;
use std::{env, fs};

use crate::world::{self, Wiring};

/// Set where every driver has to be there, so that nothing is left out.
pub const ALL_DRIVERS: &str = "WEIR_ALL_DRIVERS";

/// Why a wiring may not be left out.
#[derive(Debug, thiserror::Error)]
pub enum Unexcused {
    /// Something else than a driver is missing.
    #[error("{wiring:?}: {source}")]
    Failed {
        /// The wiring.
        wiring: Wiring,
        /// What went wrong.
        source: world::Error,
    },
    /// The driver is there, or has to be.
    #[error("{wiring:?} cannot be left out, as {why}: {source}")]
    Due {
        /// The wiring.
        wiring: Wiring,
        /// Why the driver should have worked.
        why: String,
        /// The kernel's answer.
        source: world::Error,
    },
}

/// What was made, or nothing where this kernel has no driver for the wiring, which is said.
///
/// # Errors
/// [`Unexcused`].
pub fn unless_missing<T>(wiring: Wiring, made: Result<T, world::Error>) -> Result<Option<T>, Unexcused> {
    let source = match made {
        Ok(made) => {
            println!("{wiring:?}: tried");
            return Ok(Some(made));
        }
        Err(error) if error.is_unsupported() => error,
        Err(source) => return Err(Unexcused::Failed { wiring, source }),
    };
    match due(wiring) {
        Some(why) => Err(Unexcused::Due { wiring, why, source }),
        None => {
            println!("{wiring:?}: this kernel has no driver for it; `./x test vm` tries it on one that has");
            Ok(None)
        }
    }
}

/// Why the driver has to work; nothing if it may be missing.
fn due(wiring: Wiring) -> Option<String> {
    let driver = Driver::of(wiring)?;
    if let Some(place) = driver.found() {
        return Some(format!("{place} has {}", driver.module));
    }
    let demanded = env::var_os(ALL_DRIVERS).is_some() && is_at_least(driver.since);
    demanded.then(|| format!("{ALL_DRIVERS} demands it"))
}

/// A driver of the kernel.
struct Driver {
    module: &'static str,
    /// A function of it.
    function: &'static str,
    /// The first kernel that can be built with it.
    since: (u32, u32),
}

impl Driver {
    const fn of(wiring: Wiring) -> Option<Self> {
        let (module, function, since) = match wiring {
            Wiring::IpvlanL2 | Wiring::IpvlanL3 | Wiring::IpvlanL3s => ("ipvlan", "ipvlan_link_new", (3, 19)),
            Wiring::Netkit => ("netkit", "netkit_new_link", (6, 7)),
            Wiring::Vlan => ("8021q", "register_vlan_dev", (2, 6)),
            _ => return None,
        };
        Some(Self {
            module,
            function,
            since,
        })
    }

    /// Where the running kernel shows that it has the driver: in itself, or as a module that it would load.
    fn found(&self) -> Option<String> {
        let symbols = Path::new("/proc/kallsyms").to_owned();
        let modules = release().map(|release| Path::new("/lib/modules").join(release));
        let lists = modules
            .iter()
            .flat_map(|modules| ["modules.builtin", "modules.dep"].map(|list| modules.join(list)));
        std::iter::once(symbols)
            .chain(lists)
            .find(|place| fs::read_to_string(place).is_ok_and(|text| self.is_named_in(&text)))
            .map(|place| place.display().to_string())
    }

    fn is_named_in(&self, text: &str) -> bool {
        let file = format!("/{}.ko", self.module);
        text.lines().any(|line| {
            // An address, a type and the symbol; or a path, and in lists of modules those it needs.
            let module = line.split(':').next().unwrap_or_default();
            line.split_whitespace().nth(2) == Some(self.function) || module.contains(&file)
        })
    }
}

fn is_at_least(version: (u32, u32)) -> bool {
    let release = release().unwrap_or_default();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(version.0), Some(version.1))
}

fn release() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(release.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Driver;
    use crate::world::Wiring;

    #[test]
    fn a_driver_is_found_in_the_kernel_or_among_its_modules() {
        let ipvlan = Driver::of(Wiring::IpvlanL2).unwrap();
        for (text, named) in [
            ("0000000000000000 T ipvlan_link_new\n", true),
            ("0000000000000000 T ipvlan_link_new\t[ipvlan]\n", true),
            ("kernel/drivers/net/ipvlan/ipvlan.ko\n", true),
            (
                "kernel/drivers/net/ipvlan/ipvlan.ko.xz: kernel/net/l3mdev/l3mdev.ko.xz\n",
                true,
            ),
            (
                "kernel/drivers/net/ipvlan/ipvtap.ko: kernel/drivers/net/ipvlan/ipvlan.ko\n",
                false,
            ),
            ("0000000000000000 T macvlan_link_register\n", false),
        ] {
            assert_eq!(ipvlan.is_named_in(text), named, "{text}");
        }
    }
}
