//! What the kernels of nodes have of Weir.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_testbeds::deadline::eventually;

use crate::live::Live;

const SOON: Duration = Duration::from_secs(60);

/// What of ours is in each network namespace: rules, routes, settings, and ztunnel's listeners.
const OURS: &str = r#"
for netns in /proc/self/ns/net /run/netns/*; do
    nsenter --net="$netns" sh -c '
        for family in -4 -6; do
            ip $family rule | grep fwmark
            ip $family route show table all | grep -E "table (1464158546|WEIR)"
        done
        sysctl net.ipv4.tcp_fwmark_accept net.ipv4.fwmark_reflect net.ipv6.fwmark_reflect | grep -v "= 0"
        ss --no-header --numeric --listening --tcp | grep -E ":(15001|15006|15008|15053) "
    ' | sed "s|^|$netns: |"
done
"#;

impl Live {
    /// The pods that are captured on a node, by the cookies of their network namespaces.
    pub fn captured(&self, node: &str) -> BTreeSet<String> {
        // `/sys/fs/bpf/weir/<layout>/pods/<cookie>`
        let list = [
            "find",
            "/sys/fs/bpf/weir",
            "-mindepth",
            "3",
            "-maxdepth",
            "3",
            "-path",
            "*/pods/*",
            "-printf",
            "%f\\n",
        ];
        let list = self.told(node, &list);
        list.lines().map(str::to_owned).collect()
    }

    /// Waits until these are captured and no others.
    pub fn captured_are(&self, node: &str, wanted: &BTreeSet<String>) {
        let seen = eventually(SOON, || (self.captured(node) == *wanted).then_some(()));
        assert!(
            seen.is_ok(),
            "{node}: captured are {:?} and not {wanted:?}",
            self.captured(node)
        );
    }

    /// Waits until one of these has given way to another.
    pub fn exchanged(&self, node: &str, before: &BTreeSet<String>) {
        let is_so = |now: &BTreeSet<String>| now.len() == before.len() && now.difference(before).count() == 1;
        let seen = eventually(SOON, || is_so(&self.captured(node)).then_some(()));
        assert!(
            seen.is_ok(),
            "{node}: captured are {:?}, after {before:?}",
            self.captured(node)
        );
    }

    /// What Weir and ztunnel have in the network namespaces of a node, its own among them.
    pub fn residue(&self, node: &str) -> String {
        self.told(node, &["bash", "-c", OURS])
    }
}
