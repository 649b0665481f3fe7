//! Pods whose namespace an agent knows by their processes: of those that were there before it nobody else tells.

use weir_testbeds::actor::supervised;
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::cni::Sandbox;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::process::Process;
use weir_testbeds::world::Pod;

use super::support::{Scene, awaited, sandbox, uid, was_redirected};

/// What kubelet hands to the runtime for a pod of a file; on the API server the pod has another uid.
const STATIC_UID: &str = "0123456789abcdef0123456789abcdef";

/// A process of a pod, in a cgroup that is named as kubelet does it.
struct Running {
    _process: Process,
    _cgroups: [Cgroup; 2],
}

impl Running {
    fn start(pod: &Pod, uid: &str) -> Self {
        let pods = Cgroup::new("kubepods").unwrap();
        let own = pods.child(&format!("pod{uid}")).unwrap();
        let mut sleep = supervised("sleep", Some(&own)).unwrap();
        sleep.arg("infinity");
        Self {
            _process: pod.netns.spawn(sleep).unwrap(),
            _cgroups: [own, pods],
        }
    }
}

#[test]
fn a_namespace_without_the_pods_address_is_not_taken_for_its_own() {
    let mut scene = Scene::new("cni-address");
    let pod = scene.pod("moved");
    let _process = Running::start(&pod, &uid("moved"));
    let mut line = awaited("moved");
    line.run_at("10.255.255.254".parse().unwrap());
    scene.mesh.add([line]).unwrap();
    let refused = || {
        let status = scene.mesh.agent.run("status", &["-o", "json"]).ok()?;
        let why = "holds one of the pod's addresses";
        String::from_utf8_lossy(&status.stdout)
            .contains(why)
            .then_some(())
    };
    let refused = eventually(PATIENCE, refused);
    assert!(refused.is_ok(), "{}", scene.mesh.agent.output());
    assert!(!scene.is_capturing(&pod));
    scene
        .mesh
        .change("moved", |line| line.run_at(pod.address()))
        .unwrap();
    scene.mesh.wait_state("moved", "enrolled").unwrap();
}

#[test]
fn a_pod_of_kubelets_own_file_starts_is_checked_found_again_and_ends() {
    let mut scene = Scene::new("cni-static");
    let mut line = awaited("static");
    line.annotate("kubernetes.io/config.hash", STATIC_UID);
    scene.mesh.add([line]).unwrap();
    let pod = scene.pod("static");
    let sandbox = Sandbox {
        uid: STATIC_UID.to_owned(),
        ..sandbox(&pod)
    };
    let result = scene.runtime.add(&sandbox).unwrap();
    assert!(was_redirected(&scene.first_connection(&pod).unwrap()));
    scene.runtime.check(&sandbox, &result).unwrap();

    let _process = Running::start(&pod, STATIC_UID);
    scene
        .mesh
        .change("static", |line| line.run_at(pod.address()))
        .unwrap();
    scene.mesh.agent.kill();
    scene.mesh.agent.restart().unwrap();
    scene.wait_for_socket();
    scene.mesh.wait_state("static", "enrolled").unwrap();
    scene.runtime.del(&sandbox).unwrap();
    assert!(!scene.is_capturing(&pod));
}
