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

/// The first port that a ztunnel's own connections may come from: above its listeners.
const FIRST_PORT: u32 = 16384;
/// How many ports each ztunnel has.
const PORTS_EACH: u32 = ((1 << u16::BITS) - FIRST_PORT) / SLOTS;

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

/// The ports that connections of the ztunnel in this slot come from, and those of no other.
fn ports_of(slot: u32) -> String {
    let first = FIRST_PORT + slot * PORTS_EACH;
    format!("{first}\t{}", first + PORTS_EACH - 1)
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
    use super::{FIRST_PORT, SLOTS, ports_of};

    #[test]
    fn no_two_ztunnels_share_a_port_and_none_is_left_over() {
        let mut next = FIRST_PORT;
        for slot in 0..SLOTS {
            let range = ports_of(slot);
            let (first, last) = range.split_once('\t').unwrap();
            let [first, last] = [first, last].map(|port| port.parse::<u32>().unwrap());
            assert_eq!(first, next, "slot {slot}");
            // The kernel divides ports into odd and even ones.
            assert_eq!((first % 2, last % 2), (0, 1), "slot {slot}");
            next = last + 1;
        }
        assert_eq!(next, u32::from(u16::MAX) + 1);
    }
}
