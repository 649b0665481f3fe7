//! A cluster, as its administrator sees it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;

/// How long any request may take.
const WITHIN: Duration = Duration::from_secs(30);

/// Why the cluster did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig cannot be used.
    #[error("kubeconfig {}: {source}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<kube::config::KubeconfigError>,
    },
    /// There is no way to ask.
    #[error("the API server cannot be asked: {0}")]
    Kube(Box<kube::Error>),
    /// There is no runtime to ask in.
    #[error("no runtime: {0}")]
    Runtime(#[from] std::io::Error),
    /// The request makes no sense.
    #[error("the request is none: {0}")]
    Request(#[from] hyper::http::Error),
    /// The answer makes no sense.
    #[error("the answer cannot be read: {0}")]
    Answer(#[from] serde_json::Error),
    /// No answer in time.
    #[error("no answer within {WITHIN:?}")]
    Late,
    /// The cluster refused.
    #[error("{method} {path}: {status}: {answer}")]
    Refused {
        /// What was asked.
        method: Method,
        /// Of which object.
        path: String,
        /// The answer's status.
        status: StatusCode,
        /// The answer.
        answer: Value,
    },
}

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
}

impl Cluster {
    /// The cluster that a kubeconfig leads to.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn by_kubeconfig(path: &Path) -> Result<Self, ClusterError> {
        let kubeconfig = read(path)?;
        let options = KubeConfigOptions::default();
        let config = runtime()?
            .block_on(Config::from_custom_kubeconfig(kubeconfig, &options))
            .map_err(|source| unusable(path, source))?;
        Ok(Self { config })
    }

    /// Whether the API server says that it is ready.
    pub fn is_ready(&self) -> bool {
        let asked = self.ask_for_text(Method::GET, "/readyz", None, "application/json");
        asked.is_ok_and(|(status, _)| status == StatusCode::OK)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn get(&self, path: &str) -> Result<Value, ClusterError> {
        self.ask(Method::GET, path, None, "application/json")
    }

    /// Makes an object in the collection at `path`.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, ClusterError> {
        self.ask(Method::POST, path, Some(object), "application/json")
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn patch(&self, path: &str, patch: &Value) -> Result<Value, ClusterError> {
        self.ask(Method::PATCH, path, Some(patch), "application/merge-patch+json")
    }

    /// Applies an object by its name at `path`, as `kubectl apply --server-side` does.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn apply(&self, path: &str, object: &Value) -> Result<Value, ClusterError> {
        let path = format!("{path}?fieldManager=test&force=true");
        self.ask(Method::PATCH, &path, Some(object), "application/apply-patch+yaml")
    }

    /// Tries the same, with fields that the server does not know refused, and changes nothing.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn dry_run(&self, path: &str, object: &Value) -> Result<Value, ClusterError> {
        let path = format!("{path}?fieldManager=test&force=true&dryRun=All&fieldValidation=Strict");
        self.ask(Method::PATCH, &path, Some(object), "application/apply-patch+yaml")
    }

    /// Removes an object at once.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn delete(&self, path: &str) -> Result<Value, ClusterError> {
        let at_once = serde_json::json!({"gracePeriodSeconds": 0});
        self.ask(Method::DELETE, path, Some(&at_once), "application/json")
    }

    /// Removes an object when all that belongs to it is gone, which takes as long as that takes.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn delete_with_dependents(&self, path: &str) -> Result<Value, ClusterError> {
        let foreground = serde_json::json!({"propagationPolicy": "Foreground"});
        self.ask(Method::DELETE, path, Some(&foreground), "application/json")
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        object: Option<&Value>,
        kind: &str,
    ) -> Result<Value, ClusterError> {
        let (status, text) = self.ask_for_text(method.clone(), path, object, kind)?;
        let answer = serde_json::from_slice(&text)?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(ClusterError::Refused {
            method,
            path: path.to_owned(),
            status,
            answer,
        })
    }

    /// Each request is made in a runtime of its own, so that tests need not care for ours.
    fn ask_for_text(
        &self,
        method: Method,
        path: &str,
        object: Option<&Value>,
        kind: &str,
    ) -> Result<(StatusCode, Vec<u8>), ClusterError> {
        let body = object.map_or_else(Vec::new, |object| object.to_string().into_bytes());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, kind);
        let request = request.body(Body::from(body))?;
        let config = self.config.clone();
        let asked = async {
            let client = kube::Client::try_from(config)?;
            let answer = client.send(request).await?;
            let status = answer.status();
            Ok((status, answer.into_body().collect_bytes().await?.to_vec()))
        };
        let ask = || -> Result<_, ClusterError> {
            let runtime = runtime()?;
            let asked = runtime.block_on(async { tokio::time::timeout(WITHIN, asked).await });
            let asked = asked.map_err(|_| ClusterError::Late)?;
            asked.map_err(|error| ClusterError::Kube(Box::new(error)))
        };
        // A runtime cannot be entered from within another one.
        std::thread::scope(|scope| {
            let asked = scope.spawn(ask).join();
            asked.unwrap_or_else(|_| Err(std::io::Error::other("the thread that asks panicked").into()))
        })
    }
}

/// Paths in it are made absolute.
pub(crate) fn read(path: &Path) -> Result<Kubeconfig, ClusterError> {
    Kubeconfig::read_from(path).map_err(|source| unusable(path, source))
}

fn unusable(path: &Path, source: kube::config::KubeconfigError) -> ClusterError {
    ClusterError::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
