//! How pods end, and what is known of those that run.

use weir_testbeds::cni::Sandbox;
use weir_testbeds::deadline::{PATIENCE, eventually};

use super::support::{Scene, awaited, sandbox, uid, was_redirected};

#[test]
fn nothing_is_left_of_a_sandbox_that_ends_and_the_next_one_is_captured() {
    let mut scene = Scene::new("cni-again");
    scene.mesh.add([awaited("pod")]).unwrap();
    let (first, second) = (scene.pod("pod"), scene.pod("pod-again"));
    let sandboxes = [&first, &second].map(|pod| Sandbox {
        pod: "pod".to_owned(),
        uid: uid("pod"),
        ..sandbox(pod)
    });
    scene.runtime.add(&sandboxes[0]).unwrap();
    assert!(was_redirected(&scene.first_connection(&first).unwrap()));
    scene.runtime.del(&sandboxes[0]).unwrap();
    assert!(!scene.is_capturing(&first));
    scene.mesh.wait_state("pod", "pending").unwrap();
    scene.runtime.add(&sandboxes[1]).unwrap();
    assert!(was_redirected(&scene.first_connection(&second).unwrap()));
    // Runtimes repeat themselves.
    scene.runtime.del(&sandboxes[0]).unwrap();
    assert!(scene.is_capturing(&second));
    assert!(was_redirected(&scene.first_connection(&second).unwrap()));
    scene.runtime.del(&sandboxes[1]).unwrap();
    scene.runtime.del(&sandboxes[1]).unwrap();
    assert!(!scene.is_capturing(&second));
}

#[test]
fn a_sandbox_ends_without_the_agent_or_with_one_that_did_not_see_it_begin() {
    let mut scene = Scene::new("cni-unseen");
    scene.mesh.add([awaited("one"), awaited("two")]).unwrap();
    let (one, two) = (scene.pod("one"), scene.pod("two"));
    // Processes are what the next agent finds the namespaces by.
    scene.runtime.add(&sandbox(&one)).unwrap();
    scene.runtime.add(&sandbox(&two)).unwrap();
    scene.mesh.agent.kill();
    scene.runtime.del(&sandbox(&one)).unwrap();
    assert!(scene.is_capturing(&two), "a crash changes nothing");
    scene.mesh.agent.restart().unwrap();
    scene.wait_for_socket();
    scene.runtime.del(&sandbox(&two)).unwrap();
    scene.mesh.unlist("one").unwrap();
    scene.mesh.unlist("two").unwrap();
    for pod in [&one, &two] {
        // Who has never had the pod leaves it to the next sweep.
        eventually(2 * PATIENCE, || (!scene.is_capturing(pod)).then_some(())).unwrap();
    }
}

#[test]
fn a_running_pod_is_checked() {
    let mut scene = Scene::new("cni-check");
    scene.mesh.add([awaited("pod"), awaited("other")]).unwrap();
    let (pod, other) = (scene.pod("pod"), scene.pod("other"));
    let result = scene.runtime.add(&sandbox(&pod)).unwrap();
    scene.runtime.check(&sandbox(&pod), &result).unwrap();
    let refused = scene.runtime.check(&sandbox(&other), &result).unwrap_err();
    assert_eq!(refused.code(), Some(102), "{refused}");
}

#[test]
fn what_the_runtime_has_forgotten_is_let_go() {
    let mut scene = Scene::new("cni-gc");
    scene.mesh.add([awaited("kept"), awaited("lost")]).unwrap();
    let (kept, lost) = (scene.pod("kept"), scene.pod("lost"));
    scene.runtime.add(&sandbox(&kept)).unwrap();
    scene.runtime.add(&sandbox(&lost)).unwrap();
    scene.runtime.gc(&[&sandbox(&kept)]).unwrap();
    assert!(scene.is_capturing(&kept) && !scene.is_capturing(&lost));
    assert!(was_redirected(&scene.first_connection(&kept).unwrap()));
}
