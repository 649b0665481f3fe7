//! A clock that jumps. It is the machine's, so it is set only where the machine ends with its tests.

use std::process::Command;

use super::support::{Scene, awaited, sandbox, was_redirected};

/// Set in guests of `./x vm`.
const GUEST: &str = "WEIR_GUEST";

#[test]
#[ignore = "sets the machine's clock: `./x test vm` runs it in guests"]
fn pods_start_and_stay_in_the_mesh_whatever_the_clock_says() {
    assert!(
        std::env::var_os(GUEST).is_some(),
        "it sets the machine's clock, and this is no guest of `./x vm`"
    );
    let mut scene = Scene::new("cni-clock");
    let jumps = [("back", "1 hour ago"), ("forward", "30 days")];
    scene
        .mesh
        .add(["before", "back", "forward"].map(awaited))
        .unwrap();
    let before = scene.pod("before");
    scene.runtime.add(&sandbox(&before)).unwrap();
    for (name, jump) in jumps {
        set_clock(jump);
        let pod = scene.pod(name);
        let result = scene.runtime.add(&sandbox(&pod)).unwrap();
        for pod in [&pod, &before] {
            assert!(was_redirected(&scene.first_connection(pod).unwrap()), "{name}");
        }
        // It tries a connection of its own.
        scene.runtime.check(&sandbox(&pod), &result).unwrap();
        let status = scene.mesh.agent.run("status", &[name]).unwrap();
        assert!(status.status.success(), "{status:?}");
        // One that starts with the clock as it is now takes over what is there.
        scene.mesh.agent.restart().unwrap();
        scene.wait_for_socket();
        assert!(was_redirected(&scene.first_connection(&pod).unwrap()), "{name}");
    }
}

fn set_clock(to: &str) {
    let set = Command::new("date").arg("--set").arg(to).output().unwrap();
    assert!(set.status.success(), "{set:?}");
}
