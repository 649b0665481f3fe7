//! The listeners in a pod's namespace, by what a redirector depends on.

use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Dns, Proxy, ProxySpec};

use crate::agent::Agent;
use crate::sockets::{Listener, listeners};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The listeners without what differs from one run to the next.
fn of(pod: &Netns, change: impl FnOnce(ProxySpec) -> ProxySpec) -> Vec<(u16, Listener)> {
    let agent = Agent::new();
    let spec = ProxySpec::in_pod(&Netns::new().unwrap(), agent.path());
    let _proxy = Proxy::start(change(spec)).unwrap();
    agent.accept().add("a", pod);
    let found = listeners(pod).into_iter();
    found
        .map(|(port, listener)| (port, Listener { inode: 0, ..listener }))
        .collect()
}

fn listener(family: u8, transparent: bool) -> Listener {
    Listener {
        family,
        mark: 0x539,
        transparent,
        backlog: 128,
        inode: 0,
    }
}

#[test]
fn they_serve_both_families_with_mark_and_transparency() {
    let pod = Netns::new().unwrap();
    let expected = [15001, 15006, 15008].map(|port| (port, listener(AF_INET6, true)));
    assert_eq!(of(&pod, |spec| spec), expected);
}

#[test]
fn without_original_source_they_are_not_transparent() {
    let pod = Netns::new().unwrap();
    let expected = [15001, 15006, 15008].map(|port| (port, listener(AF_INET6, false)));
    assert_eq!(of(&pod, ProxySpec::without_original_source), expected);
}

#[test]
fn dns_listens_where_ipv6_is_off_too() {
    let pod = Netns::new().unwrap();
    pod.sysctl_set("net.ipv6.conf.all.disable_ipv6", "1").unwrap();
    pod.sysctl_set("net.ipv6.conf.lo.disable_ipv6", "1").unwrap();
    let answers = Dns::Answers(vec![(None, "10.0.0.1".parse().unwrap())]);
    let found = of(&pod, |spec| spec.dns(answers));
    let mark = |(_, listener): &(u16, Listener)| listener.mark == 0x539;
    assert_eq!(
        found.iter().map(|(port, _)| *port).collect::<Vec<_>>(),
        [15001, 15006, 15008, 15053]
    );
    assert!(found.iter().all(mark), "{found:?}");
    assert_eq!(found[3].1, listener(AF_INET, false));
}
