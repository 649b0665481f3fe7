//! A namespace, a node and an agent's rights of a test's own, and a source that follows with them.

use std::net::{Ipv4Addr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use weir_agent::api_server::{ApiServer, Patience};
use weir_agent::pods::pod::PodEntry;
use weir_agent::pods::source::kubernetes::{KubernetesSource, NodeName, Redirections};
use weir_agent::pods::source::{PodSource, SourceEvent, SourceStatus};
use weir_kube::objects;
use weir_kube::{Cluster, ControlPlane, Relay};

pub const DEADLINE: Duration = Duration::from_secs(60);
const AGENT: &str = "weir";

/// Where the cluster comes from.
pub enum Place {
    /// Its control plane is ours, and shared with the tests that run beside.
    Ours(Arc<ControlPlane>),
    /// It ran before us.
    Given(PathBuf),
}

impl Place {
    fn find() -> Self {
        static SHARED: Mutex<Weak<ControlPlane>> = Mutex::new(Weak::new());
        if let Some(kubeconfig) = std::env::var_os("WEIR_TEST_KUBECONFIG") {
            return Self::Given(kubeconfig.into());
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let running = shared.upgrade().unwrap_or_else(|| {
            let started = ControlPlane::start().unwrap_or_else(|error| panic!("{error}"));
            let started = Arc::new(started);
            *shared = Arc::downgrade(&started);
            started
        });
        Self::Ours(running)
    }

    fn cluster(&self) -> Cluster {
        match self {
            Self::Ours(control_plane) => control_plane.cluster().unwrap(),
            Self::Given(path) => Cluster::by_kubeconfig(path).unwrap(),
        }
    }

    fn kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        match self {
            Self::Ours(control_plane) => control_plane.kubeconfig(name, token).unwrap(),
            Self::Given(path) => with_token(path, name, token),
        }
    }
}

/// What a test works on. Names are its own, so that tests may share a cluster.
pub struct Stage {
    pub cluster: Cluster,
    pub namespace: String,
    pub node: NodeName,
    pub kubeconfig: PathBuf,
    /// As long as it is needed.
    place: Option<Place>,
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
        let place = Place::find();
        let mut stage = Self::bare(place.cluster(), |name, token| place.kubeconfig(name, token));
        stage.place = Some(place);
        stage
    }

    /// With the chart's rights, in a cluster of the test's own.
    pub fn on(cluster: Cluster, kubeconfig: impl FnOnce(&str, &str) -> PathBuf) -> Self {
        let stage = Self::bare(cluster, kubeconfig);
        stage.grant(&chart_rules());
        stage
    }

    fn bare(cluster: Cluster, kubeconfig: impl FnOnce(&str, &str) -> PathBuf) -> Self {
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
            kubeconfig: kubeconfig(&name, &token),
            namespace: name,
            cluster,
            place: None,
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

/// The administrator's kubeconfig of a given cluster, with a token in place of the administrator.
fn with_token(path: &Path, name: &str, token: &str) -> PathBuf {
    let mut config = kube::config::Kubeconfig::read_from(path).unwrap();
    for named in &mut config.auth_infos {
        let info: kube::config::AuthInfo = serde_json::from_value(json!({"token": token})).unwrap();
        named.auth_info = Some(info);
    }
    let own = std::env::temp_dir().join(format!("{name}.kubeconfig"));
    std::fs::write(&own, serde_json::to_string(&config).unwrap()).unwrap();
    own
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
