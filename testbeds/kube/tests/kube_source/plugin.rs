//! Starts of pods while the API server is away: the real agent and the real plugin on a node in a world, behind a server
//! that crashes and comes back.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::{Value, json};
use weir_kube::{Place, objects};
use weir_testbeds::cni::{self, Error, Runtime, Sandbox};
use weir_testbeds::deadline::eventually;
use weir_testbeds::mesh::{Mesh, program};
use weir_testbeds::unique;
use weir_testbeds::world::Wiring;

use crate::crashing::Crashing;
use crate::scene::{DEADLINE, Stage};

/// Of an error after which kubelet tries again.
const LATER: Option<u64> = Some(11);

struct Scene {
    stage: Stage,
    mesh: Mesh,
    runtime: Runtime,
    scratch: PathBuf,
    server: Crashing,
}

impl Scene {
    fn new() -> Self {
        let place = Place::unshared().unwrap();
        let stage = Stage::on(place.clone());
        let scratch = env::temp_dir().join(unique::name("kube-plugin"));
        fs::create_dir(&scratch).unwrap();
        let socket = scratch.join("cni.sock");
        let (node, kubeconfig) = (stage.node.to_string(), stage.kubeconfig.display().to_string());
        let builder = Mesh::builder("kube-plugin")
            .source(&[
                "--source",
                "kubernetes",
                "--node-name",
                &node,
                "--kubeconfig",
                &kubeconfig,
            ])
            .flag("--cni-socket")
            .flag(socket.to_str().unwrap());
        let world = builder.world().unwrap();
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // The node of a world reaches nobody but by a relay.
        let relay = stage.relayed_by(world.node.netns.run(listen));
        let mesh = builder.start_in(world).unwrap();
        let runtime = Runtime::new(
            &mesh.world.node.netns,
            &chain(&scratch, &socket),
            &[&scratch, &plugins()],
        );
        let scene = Self {
            stage,
            mesh,
            runtime,
            scratch,
            server: Crashing::new(&place, || relay),
        };
        scene.wait_for_socket();
        scene
    }

    fn wait_for_socket(&self) {
        let listens = || self.scratch.join("cni.sock").exists().then_some(());
        let listens = eventually(DEADLINE, listens);
        assert!(listens.is_ok(), "{}", self.mesh.agent.output());
    }

    /// A pod that the server knows.
    fn create(&self, namespace: &str, name: &str) -> Value {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let pod = objects::pod(name, &self.stage.node.to_string());
        self.stage.cluster.create(&pods, &pod).unwrap()
    }

    /// Waits until the agent knows it too.
    fn create_known(&self, namespace: &str, name: &str) -> Value {
        let pod = self.create(namespace, name);
        let known = eventually(DEADLINE, || self.mesh.agent.state_of(name));
        assert!(known.is_ok(), "{}", self.mesh.agent.output());
        pod
    }

    /// The server's copy of a pod that kubelet has from a file, and with the uid that kubelet gives it.
    fn create_of_a_file(&self, name: &str) -> Value {
        let hash = "0123456789abcdef0123456789abcdef";
        let namespace = &self.stage.namespace;
        let mut pod = self.create(namespace, name);
        let annotations = json!({"kubernetes.io/config.hash": hash});
        self.stage
            .patch_pod(name, &json!({"metadata": {"annotations": annotations}}));
        pod["metadata"]["uid"] = json!(hash);
        pod
    }

    /// What the runtime does for a pod. One that the server does not know has nothing that could be known of it.
    fn start(&mut self, namespace: &str, pod: &Value) -> Result<(), Error> {
        let name = pod["metadata"]["name"].as_str().unwrap();
        if !self.mesh.world.pods().iter().any(|pod| pod.name == name) {
            self.mesh.world.add_pod(name, Wiring::Bridge).unwrap();
        }
        let sandbox = Sandbox {
            id: unique::name("sandbox"),
            netns: self.mesh.pod(name).netns.path(),
            namespace: namespace.to_owned(),
            pod: name.to_owned(),
            uid: pod["metadata"]["uid"].as_str().unwrap().to_owned(),
        };
        self.runtime.add(&sandbox).map(drop)
    }

    /// Kubelet repeats what is to be tried later.
    fn start_at_last(&mut self, namespace: &str, pod: &Value) {
        let started = eventually(DEADLINE, || match self.start(namespace, pod) {
            Err(error) if error.code() == LATER => None,
            other => Some(other),
        });
        started.unwrap().unwrap();
    }

    fn state_of(&self, pod: &str) -> Option<String> {
        self.mesh.agent.state_of(pod)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.scratch).unwrap_or_default();
    }
}

#[test]
fn kube_pods_that_are_known_start_while_the_server_is_away_and_others_wait_for_it() {
    let mut scene = Scene::new();
    let (meshed, plain) = (
        scene.stage.namespace.clone(),
        format!("{}-plain", scene.stage.namespace),
    );
    let namespace = objects::namespace(&plain, &json!({}));
    scene
        .stage
        .cluster
        .create("/api/v1/namespaces", &namespace)
        .unwrap();
    let known = ["known", "known-too"].map(|name| scene.create_known(&meshed, name));
    let outside = ["outside", "outside-too"].map(|name| scene.create_known(&plain, name));

    let of_a_file = scene.create_of_a_file("of-a-file");
    scene.start_at_last(&meshed, &of_a_file);
    assert_eq!(scene.state_of("of-a-file").unwrap(), "enrolled");

    scene.server.go_away();
    scene.start(&meshed, &known[0]).unwrap();
    assert_eq!(scene.state_of("known").unwrap(), "enrolled");
    scene.start(&plain, &outside[0]).unwrap();
    assert_eq!(scene.state_of("outside").unwrap(), "left");
    // Whatever is known of its namespace: its own label may put it into the mesh.
    for namespace in [&meshed, &plain] {
        let refused = scene.start(namespace, &unheard()).unwrap_err();
        assert_eq!(refused.code(), LATER, "{refused}");
        let said = refused.to_string();
        let wanted = [
            &format!("has not heard of pod {namespace}/unheard"),
            "cannot be reached",
        ];
        assert!(wanted.iter().all(|words| said.contains(*words)), "{said}");
    }

    // An agent that starts now knows nobody: its predecessor's last word is what there is.
    scene.mesh.agent.kill();
    scene.mesh.agent.restart().unwrap();
    let refused = scene.start(&meshed, &known[1]).unwrap_err();
    assert_eq!(refused.code(), LATER, "{refused}");
    assert!(
        refused.to_string().contains("waits for the weir agent"),
        "{refused}"
    );
    scene.start(&plain, &outside[1]).unwrap();

    scene.server.come_back();
    scene.wait_for_socket();
    scene.start_at_last(&meshed, &known[1]);
    assert_eq!(scene.state_of("known-too").unwrap(), "enrolled");
    let heard = scene.create(&meshed, "unheard");
    scene.start_at_last(&meshed, &heard);
    assert_eq!(scene.state_of("unheard").unwrap(), "enrolled");
}

fn unheard() -> Value {
    json!({"metadata": {"name": "unheard", "uid": "nobody-knows"}})
}

fn chain(scratch: &Path, socket: &Path) -> PathBuf {
    cni::write_wired(scratch).unwrap();
    let directory = scratch.join("net.d");
    fs::create_dir(&directory).unwrap();
    cni::write_chain(&directory, socket).unwrap();
    directory
}

fn plugins() -> PathBuf {
    program("weir-cni").unwrap().parent().unwrap().to_owned()
}
