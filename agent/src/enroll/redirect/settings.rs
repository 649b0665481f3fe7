//! Settings of ztunnel's namespace while it has a place.

use std::os::fd::BorrowedFd;

use crate::enroll::EnrollError;
use crate::inside::{self, read_sysctl, write_sysctl};

struct Setting {
    name: &'static str,
    ours: &'static str,
}

const SETTINGS: [Setting; 2] = [
    // A client uses a port again while the kernel still keeps the last connection from it in TIME_WAIT. Where the kernel
    // finds the listener by itself, it lets go of the old connection for the new one. A SYN for which `ztunnel_in` has
    // chosen the listener it takes for a duplicate and drops, until a minute is over, and programs can end no such
    // connection. So there none is kept.
    Setting {
        name: "net.ipv4.tcp_max_tw_buckets",
        ours: "0",
    },
    // ztunnel's tunnels to itself are turned back to it. Those that it opens in nobody's name come from its own address,
    // which IPv4 otherwise takes from no interface.
    Setting {
        name: "net.ipv4.conf.all.accept_local",
        ours: "1",
    },
];

/// Makes them, in the namespace that the calling thread is in.
pub(super) fn ensure() -> Result<(), EnrollError> {
    SETTINGS
        .iter()
        .try_for_each(|setting| setting.write(setting.ours))
}

/// Makes them what they are on the node, which is what new namespaces begin with. What is somebody else's choice is left
/// alone.
pub(super) fn restore(netns: BorrowedFd<'_>, host: BorrowedFd<'_>) -> Result<(), EnrollError> {
    SETTINGS.iter().try_for_each(|setting| {
        let usual = inside::run(host, || setting.read())??;
        inside::run(netns, || {
            if setting.read()? == setting.ours {
                setting.write(&usual)
            } else {
                Ok(())
            }
        })?
    })
}

impl Setting {
    fn read(&self) -> Result<String, EnrollError> {
        let name = self.name;
        read_sysctl(name).map_err(|source| EnrollError::Sysctl { name, source })
    }

    fn write(&self, value: &str) -> Result<(), EnrollError> {
        let name = self.name;
        write_sysctl(name, value).map_err(|source| EnrollError::Sysctl { name, source })
    }
}
