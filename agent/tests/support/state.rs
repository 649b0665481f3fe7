//! What there is in a network namespace that Weir may have changed.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::process::Command;

use weir_testbeds::netns::Netns;

/// Settings that are changed for the sake of captured connections.
const SETTINGS: [&str; 6] = [
    "net.ipv4.tcp_fwmark_accept",
    "net.ipv4.fwmark_reflect",
    "net.ipv6.fwmark_reflect",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.conf.all.accept_local",
    "net.ipv4.ip_local_port_range",
];

/// Rules, routes of all tables, settings, and programs at interfaces, each as a line.
pub fn state(netns: &Netns) -> BTreeSet<String> {
    let mut state = BTreeSet::new();
    for arguments in [
        "-4 rule",
        "-6 rule",
        "-4 route show table all",
        "-6 route show table all",
    ] {
        let lines = ip(netns, arguments);
        state.extend(lines.lines().map(|line| format!("{arguments}: {line}")));
    }
    for key in SETTINGS {
        state.insert(format!("{key}={}", netns.sysctl_get(key).unwrap()));
    }
    let programs = weir_netdetect::read::node(netns.as_fd()).unwrap().programs;
    state.extend(programs.iter().map(|program| format!("{program:?}")));
    state
}

/// Runs `ip`, and hands over what it prints.
pub fn ip(netns: &Netns, arguments: &str) -> String {
    let output = netns.run(|| Command::new("ip").args(arguments.split(' ')).output().unwrap());
    assert!(output.status.success(), "ip {arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
