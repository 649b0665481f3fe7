//! etcd and an API server, on loopback.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use weir_testbeds::deadline::{Expired, eventually};
use weir_testbeds::process::{self, Process};
use weir_testbeds::unique;

use crate::cluster::{Cluster, ClusterError};
use crate::directory::Directory;
use crate::programs::{self, Missing};

/// How long the API server may take to be ready; it makes keys, and a busy machine is slow.
const READY_WITHIN: Duration = Duration::from_secs(120);
const ADMIN: &str = "admin";

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum ControlPlaneError {
    /// A program is missing.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A program cannot be started.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// Files cannot be written, or a port cannot be had.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The API server is not ready.
    #[error("the API server is not ready: {0}; it says:\n{1}")]
    NotReady(Expired, String),
    /// It cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// A running control plane; it ends when this is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    apiserver: Mutex<Option<Process>>,
    _etcd: Process,
    ports: Ports,
    directory: Directory,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    etcd: u16,
    etcd_peers: u16,
    apiserver: u16,
}

impl ControlPlane {
    /// Starts one, and waits until it is ready.
    ///
    /// # Errors
    /// [`ControlPlaneError`].
    pub fn start() -> Result<Self, ControlPlaneError> {
        let directory = Directory::new().map_err(io_error("making a directory"))?;
        let ports = Ports::free()?;
        write_credentials(directory.path())?;
        let etcd = start_etcd(directory.path(), ports)?;
        let control_plane = Self {
            apiserver: Mutex::new(None),
            _etcd: etcd,
            ports,
            directory,
        };
        control_plane.come_back()?;
        Ok(control_plane)
    }

    /// Kills the API server, as a crash would.
    pub fn go_away(&self) {
        self.run(None);
    }

    /// Starts the API server again, and waits until it is ready.
    ///
    /// # Errors
    /// [`ControlPlaneError`].
    pub fn come_back(&self) -> Result<(), ControlPlaneError> {
        self.run(Some(start_apiserver(self.directory.path(), self.ports)?));
        let mut ready = || self.is_ready().then_some(());
        if let Err(expired) = eventually(READY_WITHIN, &mut ready) {
            let log = fs::read_to_string(self.directory.path().join("apiserver.log")).unwrap_or_default();
            let end = log.floor_char_boundary(log.len().saturating_sub(4000));
            return Err(ControlPlaneError::NotReady(expired, log[end..].to_owned()));
        }
        Ok(())
    }

    /// Another API server, or none; the one before ends.
    fn run(&self, apiserver: Option<Process>) {
        *self.apiserver.lock().unwrap_or_else(PoisonError::into_inner) = apiserver;
    }

    fn is_ready(&self) -> bool {
        // The certificate is made by the server as it starts.
        self.cluster().is_ok_and(|cluster| cluster.is_ready())
    }

    /// The cluster, by its administrator.
    ///
    /// # Errors
    /// [`ControlPlaneError::Cluster`].
    pub fn cluster(&self) -> Result<Cluster, ControlPlaneError> {
        Ok(Cluster::by_kubeconfig(&self.kubeconfig(ADMIN, ADMIN)?)?)
    }

    /// A kubeconfig, named `name`, for whoever has this token.
    ///
    /// # Errors
    /// [`ControlPlaneError::Io`].
    pub fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf, ControlPlaneError> {
        let directory = self.directory.path();
        let path = directory.join(format!("{name}.kubeconfig"));
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.ports.apiserver),
                "certificate-authority": directory.join("pki/apiserver.crt"),
            }}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        // Tests share a control plane, and read what others write.
        let draft = directory.join(unique::name("kubeconfig"));
        let written = fs::write(&draft, text.to_string()).and_then(|()| fs::rename(&draft, &path));
        written.map_err(io_error("writing a kubeconfig"))?;
        Ok(path)
    }
}

impl Ports {
    fn free() -> Result<Self, ControlPlaneError> {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io_error("finding a free port"));
        // All three are held until all are known, so that they differ.
        let held = [listen()?, listen()?, listen()?];
        let port = |listener: &TcpListener| {
            let address = listener.local_addr().map_err(io_error("finding a free port"));
            address.map(|address| address.port())
        };
        Ok(Self {
            etcd: port(&held[0])?,
            etcd_peers: port(&held[1])?,
            apiserver: port(&held[2])?,
        })
    }
}

fn write_credentials(directory: &Path) -> Result<(), ControlPlaneError> {
    let token = format!("{ADMIN},admin,admin,\"system:masters\"\n");
    fs::write(directory.join("tokens.csv"), token).map_err(io_error("writing tokens"))?;
    let mut openssl = Command::new("openssl");
    openssl
        .args(["genpkey", "-quiet", "-algorithm", "RSA", "-out"])
        .arg(directory.join("sa.key"));
    openssl.arg("-pkeyopt").arg("rsa_keygen_bits:2048");
    let made = openssl
        .output()
        .map_err(io_error("starting openssl (package openssl)"))?;
    if made.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&made.stderr).into_owned();
    Err(io_error("making a key with openssl")(io::Error::other(words)))
}

fn start_etcd(directory: &Path, ports: Ports) -> Result<Process, ControlPlaneError> {
    let (clients, peers) = (
        format!("http://127.0.0.1:{}", ports.etcd),
        format!("http://127.0.0.1:{}", ports.etcd_peers),
    );
    let mut etcd = guarded(&programs::find("etcd")?, directory, "etcd")?;
    etcd.arg("--data-dir").arg(directory.join("etcd"));
    etcd.args([
        "--listen-client-urls",
        &clients,
        "--advertise-client-urls",
        &clients,
    ]);
    etcd.args([
        "--listen-peer-urls",
        &peers,
        "--initial-advertise-peer-urls",
        &peers,
    ]);
    // Nothing here is worth a disk's time.
    etcd.args([
        "--initial-cluster",
        &format!("default={peers}"),
        "--unsafe-no-fsync",
    ]);
    Ok(Process::spawn(etcd)?)
}

fn start_apiserver(directory: &Path, ports: Ports) -> Result<Process, ControlPlaneError> {
    let mut apiserver = guarded(&programs::find("kube-apiserver")?, directory, "apiserver")?;
    let etcd = format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd);
    apiserver.arg(etcd).args([
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--allow-privileged=true",
        // Service accounts are made by a controller, which is not there.
        "--disable-admission-plugins=ServiceAccount",
    ]);
    apiserver.arg(format!("--secure-port={}", ports.apiserver));
    for (flag, file) in [
        ("cert-dir", "pki"),
        ("token-auth-file", "tokens.csv"),
        ("service-account-key-file", "sa.key"),
        ("service-account-signing-key-file", "sa.key"),
    ] {
        apiserver.arg(format!("--{flag}={}", directory.join(file).display()));
    }
    Ok(Process::spawn(apiserver)?)
}

/// A command that does not outlive us, and writes to a file of its own.
fn guarded(program: &Path, directory: &Path, name: &str) -> Result<Command, ControlPlaneError> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join(format!("{name}.log")));
    let log = log.map_err(io_error("opening a log"))?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program)
        .current_dir(directory);
    command
        .stdout(log.try_clone().map_err(io_error("opening a log"))?)
        .stderr(log);
    Ok(command)
}

pub(crate) fn io_error(what: &str) -> impl Fn(io::Error) -> ControlPlaneError {
    move |source| ControlPlaneError::Io {
        what: what.to_owned(),
        source,
    }
}
