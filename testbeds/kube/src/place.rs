//! Where a test's cluster comes from.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::{env, fs};

use serde_json::json;

use crate::cluster::{self, Cluster};
use crate::control_plane::{ControlPlane, ControlPlaneError, io_error};

/// A kubeconfig of a cluster to use in place of an API server of our own.
const GIVEN: &str = "WEIR_TEST_KUBECONFIG";

/// Where the cluster comes from.
#[derive(Clone, Debug)]
pub enum Place {
    /// Its control plane is ours, and shared with the tests that run beside.
    Ours(Arc<ControlPlane>),
    /// It ran before us.
    Given(PathBuf),
}

impl Place {
    /// The given cluster, or one of our own.
    ///
    /// # Errors
    /// [`ControlPlaneError`].
    pub fn find() -> Result<Self, ControlPlaneError> {
        static SHARED: Mutex<Weak<ControlPlane>> = Mutex::new(Weak::new());
        if let Some(given) = Self::given() {
            return Ok(given);
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(Self::Ours(running));
        }
        let started = Arc::new(ControlPlane::start()?);
        *shared = Arc::downgrade(&started);
        Ok(Self::Ours(started))
    }

    /// The given cluster, or one that nobody shares.
    ///
    /// # Errors
    /// [`ControlPlaneError`].
    pub fn unshared() -> Result<Self, ControlPlaneError> {
        match Self::given() {
            Some(given) => Ok(given),
            None => Ok(Self::Ours(Arc::new(ControlPlane::start()?))),
        }
    }

    /// The given cluster, if there is one.
    fn given() -> Option<Self> {
        let kubeconfig = env::var_os(GIVEN).filter(|kubeconfig| !kubeconfig.is_empty());
        kubeconfig.map(|kubeconfig| Self::Given(kubeconfig.into()))
    }

    /// The cluster, by its administrator.
    ///
    /// # Errors
    /// [`ControlPlaneError`].
    pub fn cluster(&self) -> Result<Cluster, ControlPlaneError> {
        match self {
            Self::Ours(control_plane) => control_plane.cluster(),
            Self::Given(path) => Ok(Cluster::by_kubeconfig(path)?),
        }
    }

    /// A kubeconfig, named `name`, for whoever has this token.
    ///
    /// # Errors
    /// [`ControlPlaneError`].
    pub fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf, ControlPlaneError> {
        match self {
            Self::Ours(control_plane) => control_plane.kubeconfig(name, token),
            Self::Given(path) => with_token(path, name, token),
        }
    }
}

/// The administrator's kubeconfig of a given cluster, with a token in place of the administrator.
fn with_token(path: &Path, name: &str, token: &str) -> Result<PathBuf, ControlPlaneError> {
    let mut config = serde_json::to_value(cluster::read(path)?).map_err(cluster::ClusterError::from)?;
    for named in config["users"].as_array_mut().into_iter().flatten() {
        named["user"] = json!({"token": token});
    }
    let own = env::temp_dir().join(format!("{name}.kubeconfig"));
    fs::write(&own, config.to_string()).map_err(io_error("writing a kubeconfig"))?;
    Ok(own)
}
