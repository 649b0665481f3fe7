//! Settings of ztunnel's namespace while it has a place.

use std::borrow::Cow;
use std::os::fd::BorrowedFd;

use weir_common::ztunnel::SLOTS;

use crate::enroll::EnrollError;
use crate::inside::{self, read_sysctl, write_sysctl};

struct Setting {
    name: &'static str,
    ours: Cow<'static, str>,
}

/// First and last port that connections of the ztunnel in each slot come from. As a rule two slots take turns: these have
/// most, and only such as clients have by default, which is what others may expect to see.
const PORTS: [(u16, u16); SLOTS as usize] = [(32768, 45055), (45056, 57343), (57344, 61439), (61440, 65535)];

/// For the ztunnel in this slot.
fn settings(slot: u32) -> [Setting; 3] {
    [
        // A client uses a port again while the kernel still keeps the last connection from it in TIME_WAIT. Where the
        // kernel finds the listener by itself, it lets go of the old connection for the new one. A SYN for which
        // `ztunnel_in` has chosen the listener it takes for a duplicate and drops, until a minute is over, and programs
        // can end no such connection. So there none is kept.
        Setting {
            name: "net.ipv4.tcp_max_tw_buckets",
            ours: "0".into(),
        },
        // ztunnel's tunnels to itself are turned back to it. Those that it opens in nobody's name come from its own
        // address, which IPv4 otherwise takes from no interface.
        Setting {
            name: "net.ipv4.conf.all.accept_local",
            ours: "1".into(),
        },
        // While one ztunnel replaces another both speak in the same pods' names, and neither kernel knows which ports
        // the other's sockets have: connections with the same ends would be one to everybody else.
        Setting {
            name: "net.ipv4.ip_local_port_range",
            ours: ports_of(slot).into(),
        },
    ]
}

/// As the kernel writes it.
fn ports_of(slot: u32) -> String {
    let (first, last) = PORTS[slot as usize % PORTS.len()];
    format!("{first}\t{last}")
}

/// Makes them, in the namespace that the calling thread is in.
pub(super) fn ensure(slot: u32) -> Result<(), EnrollError> {
    settings(slot)
        .iter()
        .try_for_each(|setting| setting.write(&setting.ours))
}

/// Makes them what they are on the node, which is what new namespaces begin with. What is somebody else's choice is left
/// alone.
pub(super) fn restore(netns: BorrowedFd<'_>, host: BorrowedFd<'_>, slot: u32) -> Result<(), EnrollError> {
    settings(slot).iter().try_for_each(|setting| {
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

#[cfg(test)]
mod tests {
    use super::{PORTS, ports_of};

    #[test]
    fn no_two_ztunnels_share_a_port() {
        for (one, other) in PORTS.iter().zip(&PORTS[1..]) {
            assert!(one.1 < other.0, "{one:?} and {other:?}");
        }
        for (first, last) in PORTS {
            // The kernel has odd ports and even ones, and complains of a range that has more of the one.
            assert_eq!((first % 2, last % 2), (0, 1), "{first} to {last}");
        }
        assert_eq!(ports_of(1), "45056\t57343");
    }
}
