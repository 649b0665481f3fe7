//! A connection that only ztunnel can have accepted.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use weir_common::filter::{EXCLUDE, OUTBOUND};
use weir_common::pod::PodEntry;
use weir_common::ports::HBONE;

use crate::cgroups::Hierarchy;
use crate::enroll::filters::Filters;

/// Nobody has these addresses (RFC 5737, RFC 3849), and ztunnel takes connections to this port for loops and refuses
/// them: nothing leaves the node.
const NOBODY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];
const PORT: u16 = HBONE;
/// Over loopback a connection takes no time.
const WITHIN: Duration = Duration::from_secs(1);

/// Addresses to try from a pod with these families, so that only captured connections are made.
pub(super) fn targets(v4: bool, v6: bool, filters: &Filters) -> Vec<IpAddr> {
    NOBODY
        .into_iter()
        .filter(|address| if address.is_ipv4() { v4 } else { v6 })
        .filter(|address| is_captured(filters, *address))
        .collect()
}

fn is_captured(filters: &Filters, address: IpAddr) -> bool {
    let by_inclusion = filters.entry_flags() & PodEntry::OUTBOUND_BY_INCLUSION != 0;
    let port_excluded = filters.ports.get(&(OUTBOUND, PORT)) == Some(&EXCLUDE);
    let range_excluded = filters
        .ranges
        .iter()
        .any(|(range, rule)| *rule == EXCLUDE && range.contains(address));
    !(by_inclusion || port_excluded || range_excluded)
}

/// Tries a connection from the namespace that the calling thread is in.
pub(super) fn connect(address: IpAddr) -> Option<String> {
    let target = SocketAddr::new(address, PORT);
    TcpStream::connect_timeout(&target, WITHIN)
        .err()
        .map(|error| error.to_string())
}

/// Whether this process's connections are seen by programs that are attached to `cgroup`: else what is tried would
/// leave the pod uncaptured.
pub(super) fn is_covered(hierarchy: &Hierarchy, cgroup: &Path) -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroup == hierarchy.root || is_below(&own, cgroup.strip_prefix(&hierarchy.root).unwrap_or(cgroup))
}

fn is_below(own: &str, cgroup: &Path) -> bool {
    own.lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .is_some_and(|path| Path::new(path).starts_with(cgroup))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::path::Path;

    use weir_common::filter::{EXCLUDE, INCLUDE, OUTBOUND};
    use weir_common::pod::PodEntry;

    use super::{is_below, targets};
    use crate::enroll::filters::Filters;

    fn tried(filters: &Filters) -> Vec<String> {
        targets(true, true, filters)
            .iter()
            .map(IpAddr::to_string)
            .collect()
    }

    #[test]
    fn only_what_would_be_captured_is_tried() {
        let none = Filters::default();
        assert_eq!(tried(&none), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(targets(false, true, &none).len(), 1);
        let mut excluded = Filters::default();
        excluded.ranges.insert("192.0.0.0/8".parse().unwrap(), EXCLUDE);
        excluded.ranges.insert("10.0.0.0/8".parse().unwrap(), INCLUDE);
        excluded.ports.insert((OUTBOUND, 22), EXCLUDE);
        assert_eq!(tried(&excluded), ["2001:db8::1"]);
        excluded.ports.insert((OUTBOUND, 15008), EXCLUDE);
        assert_eq!(tried(&excluded), [""; 0]);
        let included = Filters {
            flags: PodEntry::OUTBOUND_BY_INCLUSION,
            ..Filters::default()
        };
        assert_eq!(tried(&included), [""; 0]);
    }

    #[test]
    fn programs_see_the_processes_below_their_cgroup() {
        let own = "4:memory:/x\n0::/kubepods/pod1/c\n";
        assert!(is_below(own, Path::new("kubepods")));
        assert!(!is_below(own, Path::new("kube")));
        assert!(!is_below("4:memory:/kubepods\n", Path::new("kubepods")));
    }
}
