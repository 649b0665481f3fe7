//! The cluster that runs.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_kube::Cluster;
use weir_kube::objects::collection;
use weir_testbeds::deadline::eventually;

use crate::objects;

pub const NODES: [&str; 2] = ["node-1", "node-2"];
const KINDS: [&str; 2] = ["bridge", "macvlan"];
pub const DEADLINE: Duration = Duration::from_secs(180);
const ANNOTATION: &str = "ambient.istio.io/redirection";
const SYSTEM: &str = "/apis/apps/v1/namespaces/istio-system/daemonsets";

/// A pod, as ztunnel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub name: String,
    pub node: String,
    pub uid: String,
    pub address: IpAddr,
}

pub struct Live {
    cluster: Cluster,
    scripts: PathBuf,
    /// When the present step began.
    begun: Cell<Instant>,
}

impl Live {
    pub fn open() -> Self {
        let state = std::env::var_os("WEIR_KUBE_STATE").map_or("/var/lib/weir-kube".into(), PathBuf::from);
        let kubeconfig = state.join("admin.kubeconfig");
        assert!(
            state.join("control.init").exists(),
            "there is no cluster in {}: `./x kube up` makes one",
            state.display()
        );
        Self {
            cluster: Cluster::by_kubeconfig(&kubeconfig).unwrap_or_else(|error| panic!("{error}")),
            scripts: Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster"),
            begun: Cell::new(Instant::now()),
        }
    }

    pub fn begin(&self, step: &str) {
        let took = self.begun.replace(Instant::now()).elapsed();
        println!("  {:.0} s\n{step}", took.as_secs_f32());
    }

    pub fn still_in_time(&self) {
        assert!(self.begun.get().elapsed() < DEADLINE, "it takes too long");
    }

    /// Makes an object, unless it is there.
    pub fn ensure(&self, object: &Value) {
        match self.cluster.create(&collection(object), object) {
            Ok(_) => {}
            Err(error) if error.to_string().contains("AlreadyExists") => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub fn pod(&self, namespace: &str, name: &str) -> Value {
        self.cluster
            .get(&format!("/api/v1/namespaces/{namespace}/pods/{name}"))
            .unwrap()
    }

    pub fn runs(&self, namespace: &str, name: &str) {
        let runs = || {
            let status = &self.pod(namespace, name)["status"];
            (status["phase"] == "Running" && status["containerStatuses"][0]["ready"] == true).then_some(())
        };
        let seen = eventually(DEADLINE, runs);
        assert!(
            seen.is_ok(),
            "{namespace}/{name} does not run: {}",
            self.pod(namespace, name)["status"]
        );
    }

    /// Pods with this label.
    pub fn labelled(&self, namespace: &str, label: &str) -> Vec<Value> {
        let pods = self.cluster.get(&labelled(namespace, label)).unwrap();
        pods["items"].as_array().unwrap().clone()
    }

    /// All pods with this label have ended, and well; says their UIDs.
    pub fn succeed(&self, namespace: &str, label: &str) -> Vec<String> {
        let have_ended = || {
            let pods = self.labelled(namespace, label);
            let mut phases = pods.iter().map(|pod| &pod["status"]["phase"]);
            let done = phases.all(|phase| *phase == "Succeeded" || *phase == "Failed");
            done.then_some(())
        };
        let seen = eventually(DEADLINE, have_ended);
        assert!(seen.is_ok(), "{namespace}: pods with {label} do not end");
        let pods = self.labelled(namespace, label);
        assert!(!pods.is_empty());
        for pod in &pods {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let node = pod["spec"]["nodeName"].as_str().unwrap();
            let ended_well = pod["status"]["phase"] == "Succeeded";
            assert!(ended_well, "{name} says {}", self.log(namespace, name, node));
        }
        let uids = pods.iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap());
        uids.map(str::to_owned).collect()
    }

    pub fn remove_labelled(&self, namespace: &str, label: &str) {
        self.cluster.delete(&labelled(namespace, label)).unwrap();
    }

    pub fn remove(&self, namespace: &str, name: &str) {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        self.cluster.delete(&path).unwrap();
    }

    /// How often the kubelet has started its container anew.
    pub fn restarts(&self, namespace: &str, name: &str) -> u64 {
        let pod = self.pod(namespace, name);
        pod["status"]["containerStatuses"][0]["restartCount"]
            .as_u64()
            .unwrap()
    }

    /// The kubelet has started its container anew.
    pub fn runs_again(&self, namespace: &str, name: &str) {
        let is_ready = || self.pod(namespace, name)["status"]["containerStatuses"][0]["ready"] == true;
        let restarted = || (self.restarts(namespace, name) > 0 && is_ready()).then_some(());
        let seen = eventually(DEADLINE, restarted);
        assert!(
            seen.is_ok(),
            "{namespace}/{name} is not back: {}",
            self.pod(namespace, name)["status"]
        );
    }

    pub fn says(&self, namespace: &str, name: &str, wanted: &Value) {
        let said = || self.pod(namespace, name)["metadata"]["annotations"][ANNOTATION].clone();
        let seen = eventually(DEADLINE, || (said() == *wanted).then_some(()));
        assert!(seen.is_ok(), "{namespace}/{name} says {}, not {wanted}", said());
    }

    pub fn address(&self, namespace: &str, name: &str) -> IpAddr {
        let address = self.pod(namespace, name)["status"]["podIP"].clone();
        address.as_str().unwrap().parse().unwrap()
    }

    /// Where a node's server answers.
    pub fn server(&self, node: &str) -> SocketAddr {
        SocketAddr::new(self.address("in", &format!("server-{node}")), objects::PORT)
    }

    /// Where a node's server of the list answers.
    pub fn target(&self, node: &str) -> SocketAddr {
        SocketAddr::new(self.address("in", &format!("target-{node}")), objects::PORT)
    }

    /// Kills a container; its pod stays.
    pub fn kill(&self, node: &str, id: &str) {
        self.told(
            node,
            &[
                "ctr",
                "--namespace",
                "k8s.io",
                "task",
                "kill",
                "--signal",
                "KILL",
                id,
            ],
        );
    }

    /// Whose connections ztunnel is to have seen.
    pub fn client(&self, namespace: &str, name: &str) -> Client {
        let pod = self.pod(namespace, name);
        Client {
            name: name.to_owned(),
            node: pod["spec"]["nodeName"].as_str().unwrap().to_owned(),
            uid: pod["metadata"]["uid"].as_str().unwrap().to_owned(),
            address: pod["status"]["podIP"].as_str().unwrap().parse().unwrap(),
        }
    }

    pub fn label(&self, namespace: &str, name: &str, mode: &Value) {
        let patch = json!({"metadata": {"labels": {"istio.io/dataplane-mode": mode}}});
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        self.cluster.patch(&path, &patch).unwrap();
    }

    pub fn is_rolled_out(&self, name: &str) -> bool {
        let set = self.cluster.get(&format!("{SYSTEM}/{name}")).unwrap();
        let status = &set["status"];
        status["observedGeneration"] == set["metadata"]["generation"]
            && ["updatedNumberScheduled", "numberReady"]
                .iter()
                .all(|count| status[count].as_u64() == Some(NODES.len() as u64))
    }

    pub fn rolled_out(&self, name: &str) {
        let seen = eventually(DEADLINE, || self.is_rolled_out(name).then_some(()));
        assert!(seen.is_ok(), "{name} is not ready on all nodes");
    }

    /// Replaces the pods of a DaemonSet, as `kubectl rollout restart` does.
    pub fn restart(&self, name: &str) {
        let now = format!("{:?}", std::time::SystemTime::now());
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"restarted": now}}}}});
        self.cluster.patch(&format!("{SYSTEM}/{name}"), &patch).unwrap();
    }

    /// UIDs of the agents' pods.
    pub fn agents(&self) -> Vec<String> {
        let path = "/api/v1/namespaces/istio-system/pods?labelSelector=app.kubernetes.io%2Fname%3Dweir";
        let pods = self.cluster.get(path).unwrap();
        let mut uids: Vec<String> = pods["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned())
            .collect();
        uids.sort_unstable();
        uids
    }

    /// Lets a pod fetch a page, which must succeed.
    pub fn asks(&self, namespace: &str, name: &str, node: &str, server: SocketAddr) {
        let id = self.container(namespace, name);
        assert!(
            self.gets_page(node, &id, server),
            "{namespace}/{name} gets no page from {server}"
        );
    }

    /// The id of a pod's container, as containerd knows it.
    pub fn container(&self, namespace: &str, name: &str) -> String {
        let id = self.pod(namespace, name)["status"]["containerStatuses"][0]["containerID"].clone();
        id.as_str()
            .unwrap()
            .trim_start_matches("containerd://")
            .to_owned()
    }

    /// Whether a container can fetch a page; the API server is not asked.
    pub fn gets_page(&self, node: &str, id: &str, server: SocketAddr) -> bool {
        // The page is looked at in the container: what `ctr` hands on may lack the end.
        let ask = format!("wget -q -O- http://{server}/ | grep -qx hello");
        let asked = self.run_in(node, id, &["sh", "-c", &ask]);
        let got_it = asked.status.success();
        if !got_it {
            println!("{asked:?}");
        }
        got_it
    }

    /// Runs a command in a container; the API server is not asked.
    pub fn run_in(&self, node: &str, id: &str, command: &[&str]) -> Output {
        let exec = weir_testbeds::unique::name("exec");
        let execute = [
            "ctr",
            "--namespace",
            "k8s.io",
            "task",
            "exec",
            "--exec-id",
            &exec,
            id,
        ];
        self.on(node, &[&execute[..], command].concat())
    }

    /// Runs a command on a machine, which must succeed, and says what it printed.
    pub fn told(&self, machine: &str, command: &[&str]) -> String {
        let done = self.on(machine, command);
        assert!(done.status.success(), "{machine}: {command:?}: {done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// What a container has printed.
    pub fn log(&self, namespace: &str, name: &str, node: &str) -> String {
        let uid = self.pod(namespace, name)["metadata"]["uid"].clone();
        let pattern = format!(
            "cat /var/log/pods/{namespace}_{name}_{}/c/*.log",
            uid.as_str().unwrap()
        );
        self.told(node, &["sh", "-c", &pattern])
    }

    /// Sets an option of the agents, which takes effect when they are restarted.
    pub fn configure(&self, line: &str) {
        let path = "/api/v1/namespaces/istio-system/configmaps/weir";
        let config = self.cluster.get(path).unwrap()["data"]["config.yaml"].clone();
        let config = format!("{}\n{line}\n", config.as_str().unwrap().trim_end());
        let patch = json!({"data": {"config.yaml": config}});
        self.cluster.patch(path, &patch).unwrap();
    }

    /// The next installation has the manifest's configuration again.
    pub fn forget_configuration(&self) {
        self.cluster
            .delete("/api/v1/namespaces/istio-system/configmaps/weir")
            .unwrap();
    }

    /// Removes a DaemonSet; [`Self::is_removed`] says when its pods are gone too.
    pub fn begin_removal(&self, name: &str) {
        self.cluster
            .delete_with_dependents(&format!("{SYSTEM}/{name}"))
            .unwrap();
    }

    pub fn is_removed(&self, name: &str) -> bool {
        let asked = self.cluster.get(&format!("{SYSTEM}/{name}"));
        asked.is_err_and(|error| error.to_string().contains("NotFound"))
    }

    pub fn on(&self, node: &str, command: &[&str]) -> Output {
        let mut shell = Command::new(self.scripts.join("shell.sh"));
        shell.arg(node).args(command).output().unwrap()
    }

    /// Takes a node's power away and gives it back.
    pub fn reboot(&self, node: &str) {
        let index = NODES.iter().position(|name| *name == node).unwrap();
        let number = (index + 1).to_string();
        for (script, arguments) in [
            ("stop.sh", vec![node]),
            ("node.sh", vec![node, &number, KINDS[index]]),
        ] {
            let done = Command::new(self.scripts.join(script))
                .args(arguments)
                .output()
                .unwrap();
            assert!(done.status.success(), "{script}: {done:?}");
        }
    }
}

fn labelled(namespace: &str, label: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods?labelSelector={label}")
}
