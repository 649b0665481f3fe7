use std::collections::BTreeSet;

use weir_common::address::Address;
use weir_common::pod::{PodEntry, PodRecord, Shown};

use super::{NodeFacts, PodFacts, Wanted, problems};
use crate::enroll::interfaces::Bare;
use crate::verify::Check;

const WANTED: Wanted = Wanted {
    cookie: 17,
    flags: PodEntry::CAPTURING | PodEntry::DNS,
};

fn well() -> (NodeFacts, PodFacts) {
    let addresses: BTreeSet<_> = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()].into();
    let node = NodeFacts {
        addresses: [(17, addresses.clone())].into(),
        listeners: [((17, 15001), 1), ((17, 15006), 2)].into(),
        unattached: Vec::new(),
    };
    let pod = PodFacts {
        record: Some(PodRecord {
            entry: PodEntry {
                flags: WANTED.flags,
                sysctls: 5,
            },
            shown: Shown::of(addresses.iter().copied().map(Address::from)),
        }),
        flags: 0,
        addresses,
        routing: true,
        sysctls: true,
        lookup: true,
        bare: Bare::default(),
        connections: vec![("192.0.2.1".parse().unwrap(), None)],
    };
    (node, pod)
}

fn found(break_it: impl FnOnce(&mut NodeFacts, &mut PodFacts)) -> Vec<(Check, String)> {
    let (mut node, mut pod) = well();
    break_it(&mut node, &mut pod);
    let problems = problems(WANTED, &node, &pod);
    problems
        .into_iter()
        .map(|problem| (problem.check, problem.detail))
        .collect()
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    assert_eq!(found(|_, _| {}), []);
}

#[test]
fn each_fact_has_its_problem() {
    type Break = fn(&mut NodeFacts, &mut PodFacts);
    let cases: [(Break, Check, &str); 16] = [
        (|_, pod| pod.record = None, Check::Entry, "does not know the pod"),
        (
            |_, pod| pod.record.as_mut().unwrap().shown.addresses[2] = Address::LOOPBACK_V4,
            Check::Addresses,
            "programs take other addresses for the pod's: 10.0.0.1, fd00::1, 127.0.0.1",
        ),
        (
            |_, pod| pod.bare.unguarded.push("eth0".to_owned()),
            Check::Guard,
            "past ztunnel by eth0",
        ),
        (
            |_, pod| pod.bare.uncaptured.push("vm0".to_owned()),
            Check::Virtual,
            "virtual machines send by vm0",
        ),
        (
            |_, pod| pod.record.as_mut().unwrap().entry.flags = PodEntry::DNS,
            Check::Entry,
            "flags dns, not capturing,dns",
        ),
        (
            |_, pod| pod.flags = PodEntry::PORTS_REST,
            Check::Entry,
            "flags capturing,dns, not capturing,dns,ports-rest",
        ),
        (|node, _| node.addresses.clear(), Check::Addresses, "knows none"),
        (
            |_, pod| _ = pod.addresses.pop_last(),
            Check::Addresses,
            "has the addresses 10.0.0.1; the kernel side knows 10.0.0.1, fd00::1",
        ),
        (|_, pod| pod.routing = false, Check::Routing, "rule or route"),
        (|_, pod| pod.sysctls = false, Check::Sysctls, "switched off"),
        (|_, pod| pod.lookup = false, Check::Lookup, "not attached"),
        (
            |node, _| node.unattached.push("weir_connect4"),
            Check::Programs,
            "weir_connect4",
        ),
        (
            |node, _| _ = node.listeners.remove(&(17, 15006)),
            Check::Listeners,
            "on 15006 ",
        ),
        (
            |node, _| node.listeners.clear(),
            Check::Listeners,
            "on 15001 and 15006 ",
        ),
        (
            |node, _| _ = node.listeners.insert((17, 15001), 0),
            Check::Listeners,
            "on 15001 ",
        ),
        (
            |_, pod| pod.connections[0].1 = Some("timed out".to_owned()),
            Check::Connection,
            "192.0.2.1: timed out",
        ),
    ];
    for (break_it, check, words) in cases {
        let found = found(break_it);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, check);
        assert!(found[0].1.contains(words), "{words:?} is not in {found:?}");
    }
}

#[test]
fn names_lead_back() {
    for check in Check::ALL {
        assert_eq!(Check::from_name(check.name()), Some(check));
    }
}
