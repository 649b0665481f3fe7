//! Pods that end, start again, and are made anew.

use crate::live::{Live, NODES};
use crate::objects;

/// What is in the kernel for a pod goes with it.
pub fn a_pod_that_is_deleted_leaves_nothing(live: &Live) {
    const PODS: usize = 3;
    live.begin("a pod that is deleted leaves nothing");
    for node in NODES {
        let before = live.captured(node);
        let name = |number: usize| format!("short-lived.{node}.{number}");
        for number in 0..PODS {
            live.ensure(&objects::pod("in", &name(number), node, &objects::idle()));
        }
        for number in 0..PODS {
            live.runs("in", &name(number));
        }
        let during = live.captured(node);
        assert!(
            during.is_superset(&before) && during.len() == before.len() + PODS,
            "{during:?}"
        );
        live.remove_labelled("in", "app=short-lived");
        live.captured_are(node, &before);
    }
}

/// A container that is killed gets a successor in the same network namespace, a pod that is deleted one in another.
pub fn a_pod_that_starts_again_stays_in_the_mesh(live: &Live) {
    live.begin("a pod that starts again stays in the mesh");
    for node in NODES {
        let to = live.target(NODES[1]);
        let name = format!("again.{node}");
        let pod = objects::first_then_idle("in", &name, node, to);
        live.ensure(&pod);
        live.runs("in", &name);
        let first = live.client("in", &name);
        live.all_outbound(&first, to, 1);
        let captured = live.captured(node);

        live.kill(node, &live.container("in", &name));
        live.runs_again("in", &name);
        live.all_outbound(&first, to, 2);
        assert_eq!(live.restarts("in", &name), 1);
        assert_eq!(live.client("in", &name), first);
        assert_eq!(live.captured(node), captured);

        live.remove("in", &name);
        live.ensure(&pod);
        live.runs("in", &name);
        let second = live.client("in", &name);
        assert_ne!(second.uid, first.uid);
        live.all_outbound(&second, to, 1);
        live.exchanged(node, &captured);
        live.remove("in", &name);
    }
}
