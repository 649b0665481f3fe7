//! What the kernels of nodes have of Weir.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_testbeds::deadline::eventually;

use crate::live::Live;

const SOON: Duration = Duration::from_secs(60);

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
}
