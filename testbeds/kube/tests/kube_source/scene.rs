//! A namespace, a node and an agent's rights of a test's own, and a source that follows with them.

use std::net::{Ipv4Addr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use weir_agent::api_server::{ApiServer, Patience};
use weir_agent::pods::pod::PodEntry;
use weir_agent::pods::source::kubernetes::{KubernetesSource, NodeName, Redirections};
use weir_agent::pods::source::{PodSource, SourceEvent, SourceStatus};
use weir_kube::objects;
use weir_kube::{Cluster, Place, Relay};

pub const DEADLINE: Duration = Duration::from_secs(60);
const AGENT: &str = "weir";

/// What a test works on. Names are its own, so that tests may share a cluster.
pub struct Stage {
    pub cluster: Cluster,
    pub namespace: String,
    pub node: NodeName,
    pub kubeconfig: PathBuf,
    /// As long as it is needed.
    _place: Place,
}

impl Stage {
    /// With a service account that has the chart's rights.
    pub fn new() -> Self {
        let stage = Self::without_rights();
        stage.grant(&chart_rules());
        stage
    }

    /// With a service account that may do nothing.
    pub fn without_rights() -> Self {
        Self::bare(Place::find().unwrap_or_else(|error| panic!("{error}")))
    }

    /// With the chart's rights, in this cluster.
    pub fn on(place: Place) -> Self {
        let stage = Self::bare(place);
        stage.grant(&chart_rules());
        stage
    }

    fn bare(place: Place) -> Self {
        let cluster = place.cluster().unwrap();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-test-{}-{number}", std::process::id());
        let labels = json!({"istio.io/dataplane-mode": "ambient"});
        cluster
            .create("/api/v1/namespaces", &objects::namespace(&name, &labels))
            .unwrap();
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": AGENT}});
        let accounts = format!("/api/v1/namespaces/{name}/serviceaccounts");
        cluster.create(&accounts, &account).unwrap();
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = cluster.create(&format!("{accounts}/{AGENT}/token"), &request);
        let token = answer.unwrap()["status"]["token"].as_str().unwrap().to_owned();
        Self {
            node: name.parse().unwrap(),
            kubeconfig: place.kubeconfig(&name, &token).unwrap(),
            namespace: name,
            cluster,
            _place: place,
        }
    }

    /// Allows the service account to do this.
    pub fn grant(&self, rules: &Value) {
        let name = &self.namespace;
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": rules});
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": AGENT, "namespace": name}]});
        let apply = |kind: &str, object| self.cluster.apply(&format!("{rbac}/{kind}/{name}"), object);
        apply("clusterroles", &role).unwrap();
        apply("clusterrolebindings", &binding).unwrap();
    }

    /// From now on the server is asked by way of a relay.
    pub fn relayed(&self) -> Relay {
        self.relayed_by(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    /// The same with a relay that listens elsewhere.
    pub fn relayed_by(&self, listener: TcpListener) -> Relay {
        let text = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let mut config: Value = serde_yaml_ng::from_str(&text).unwrap();
        let cluster = &mut config["clusters"][0]["cluster"];
        let server: hyper::Uri = cluster["server"].as_str().unwrap().parse().unwrap();
        let host = server.host().unwrap().to_owned();
        let mut addresses = (host.as_str(), server.port_u16().unwrap_or(443))
            .to_socket_addrs()
            .unwrap();
        let relay = Relay::on(listener, addresses.next().unwrap()).unwrap();
        cluster["server"] = json!(format!("https://{}", relay.address()));
        cluster["tls-server-name"] = json!(host);
        std::fs::write(&self.kubeconfig, config.to_string()).unwrap();
        relay
    }

    pub async fn server(&self, patience: Patience) -> ApiServer {
        ApiServer::open(Some(&self.kubeconfig), patience).await.unwrap()
    }

    fn path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{name}", self.namespace)
    }

    pub fn create_pod(&self, name: &str, node: &str) -> Value {
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        self.cluster.create(&pods, &objects::pod(name, node)).unwrap()
    }

    pub fn run_pod(&self, name: &str, addresses: &[&str]) {
        let path = format!("{}/status", self.path(name));
        self.cluster.patch(&path, &objects::running(addresses)).unwrap();
    }

    pub fn pod(&self, name: &str) -> Value {
        self.cluster.get(&self.path(name)).unwrap()
    }

    pub fn patch_pod(&self, name: &str, patch: &Value) {
        self.cluster.patch(&self.path(name), patch).unwrap();
    }

    pub fn delete_pod(&self, name: &str) {
        self.cluster.delete(&self.path(name)).unwrap();
    }

    pub fn label_namespace(&self, mode: &Value) {
        let patch = json!({"metadata": {"labels": {"istio.io/dataplane-mode": mode}}});
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        self.cluster.patch(&path, &patch).unwrap();
    }

    pub fn events(&self) -> Vec<Value> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace);
        let events = self.cluster.get(&path).unwrap();
        let items = events["items"].as_array().unwrap().clone();
        items
            .into_iter()
            .filter(|event| event["reportingController"] == "weir")
            .collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Ours goes as a whole; in a given one the namespace takes the rest along.
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        for path in [
            format!("/api/v1/namespaces/{}", self.namespace),
            format!("{rbac}/clusterroles/{}", self.namespace),
            format!("{rbac}/clusterrolebindings/{}", self.namespace),
        ] {
            drop(self.cluster.delete(&path));
        }
        drop(std::fs::remove_file(&self.kubeconfig));
    }
}

/// What the manifest lets the agent do.
pub fn chart_rules() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/all-in-one.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    let objects = documents.map(|document| <Value as serde::Deserialize>::deserialize(document).unwrap());
    let role = objects.into_iter().find(|object| object["kind"] == "ClusterRole");
    role.unwrap()["rules"].clone()
}

/// A source that follows.
pub struct Following {
    pub source: PodSource,
    pub redirections: tokio::sync::watch::Receiver<Redirections>,
    runtime: Runtime,
}

impl Following {
    pub fn begin(stage: &Stage) -> Self {
        let runtime = Runtime::new().unwrap();
        let patience = Patience {
            longest_pause: Duration::from_secs(1),
            ..Patience::default()
        };
        let server = runtime.block_on(stage.server(patience));
        let (kubernetes, source) = KubernetesSource::new(server, stage.node.clone());
        let redirections = kubernetes.redirections();
        runtime.spawn(kubernetes.run());
        Self {
            source,
            redirections,
            runtime,
        }
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Waits until exactly these pods are known.
    pub fn expect(&mut self, wanted: &[&str]) {
        self.expect_pods(|pods| {
            let mut names: Vec<&str> = pods.iter().map(|entry| entry.pod.name.name()).collect();
            names.sort_unstable();
            names == wanted
        });
    }

    pub fn expect_pods(&mut self, is_wanted: impl Fn(&[PodEntry]) -> bool) {
        let known = self.source.events.wait_for(|event| match event {
            SourceEvent::Pending => false,
            SourceEvent::Snapshot(snapshot) => is_wanted(&snapshot.pods),
        });
        let seen = self.runtime.block_on(async { timeout(DEADLINE, known).await });
        let seen = seen.is_ok_and(|seen| seen.is_ok());
        assert!(
            seen,
            "not the wanted pods but {:?}; {:?}",
            self.source.events.borrow(),
            self.source.status.borrow()
        );
    }

    /// Whether the pods that are known at this moment are so.
    pub fn is_now(&self, so: impl Fn(&[PodEntry]) -> bool) -> bool {
        matches!(&*self.source.events.borrow(), SourceEvent::Snapshot(snapshot) if so(&snapshot.pods))
    }

    pub fn expect_trouble(&mut self, words: &[&str]) {
        let said = |status: &SourceStatus| match status {
            SourceStatus::Failed { error, .. } => {
                let text = error.to_string();
                words.iter().all(|word| text.contains(word))
            }
            SourceStatus::Pending | SourceStatus::Ok { .. } => false,
        };
        let waited = self.source.status.wait_for(said);
        let seen = self.runtime.block_on(async { timeout(DEADLINE, waited).await });
        let seen = seen.is_ok_and(|seen| seen.is_ok());
        assert!(seen, "no such trouble, but {:?}", self.source.status.borrow());
    }

    pub fn expect_current(&mut self) {
        let current = |status: &SourceStatus| matches!(status, SourceStatus::Ok { .. });
        let waited = self.source.status.wait_for(current);
        let seen = self.runtime.block_on(async { timeout(DEADLINE, waited).await });
        let seen = seen.is_ok_and(|seen| seen.is_ok());
        assert!(seen, "not current: {:?}", self.source.status.borrow());
    }
}
