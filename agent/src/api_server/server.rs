//! The server itself.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::action::Action;
use super::body::{Lines, read};
use super::client::CurrentClient;
use super::error::{ApiError, OpenError};

/// The longest answer: ten thousand namespaces with a kilobyte of metadata each come to a sixth of it.
const LONGEST_ANSWER: usize = 64 << 20;
/// The longest line of a watch; an object in the cluster's store has no more than 1.5 MiB.
const LONGEST_LINE: usize = 4 << 20;
/// The longest refusal that is quoted.
const LONGEST_REFUSAL: usize = 64 << 10;
/// A connection that takes longer is none.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long the server is waited for, and how long it is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For an answer, whole or its beginning.
    pub answer: Duration,
    /// For the next sign of life on a watch. Servers send bookmarks every minute.
    pub silence: Duration,
    /// How long one watch goes on at most.
    pub watch: Duration,
    /// The first pause after a failure.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(15),
            silence: Duration::from_secs(150),
            watch: Duration::from_secs(300),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// The API server; clones share its connections.
#[derive(Clone)]
pub struct ApiServer {
    client: Arc<CurrentClient>,
    patience: Patience,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl ApiServer {
    /// The server that a kubeconfig names, or else that of the cluster that this process runs in. Nobody is asked yet.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(kubeconfig: Option<&Path>, patience: Patience) -> Result<Self, OpenError> {
        let config = match kubeconfig {
            Some(path) => from_file(path).await.map_err(|source| OpenError::Kubeconfig {
                path: path.to_owned(),
                source,
            })?,
            None => Config::incluster().map_err(|source| OpenError::Cluster { source })?,
        };
        Self::with_config(config, patience)
    }

    /// A server by its connection's settings.
    ///
    /// # Errors
    /// [`OpenError::Client`].
    pub fn with_config(mut config: Config, patience: Patience) -> Result<Self, OpenError> {
        config.connect_timeout = Some(CONNECT_WITHIN);
        // Pauses are ours: see `Pause`.
        config.default_retry = false;
        let agent = HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, agent));
        let client = CurrentClient::new(config).map_err(|source| OpenError::Client { source })?;
        Ok(Self {
            client: Arc::new(client),
            patience,
        })
    }

    /// How patient this one's users are.
    #[must_use]
    pub const fn patience(&self) -> Patience {
        self.patience
    }

    /// Asks for an object.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn ask<T: DeserializeOwned>(
        &self,
        action: Action,
        request: Request<Vec<u8>>,
    ) -> Result<T, ApiError> {
        let after = self.patience.answer;
        let answer = timeout(after, async {
            read(action, self.begin(action, request).await?, LONGEST_ANSWER).await
        });
        let answer = answer.await.unwrap_or(Err(ApiError::Late { action, after }))?;
        serde_json::from_slice(&answer).map_err(|source| ApiError::Garbage { action, source })
    }

    /// Asks for something that comes line by line, and waits for its beginning only.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn follow(&self, action: Action, request: Request<Vec<u8>>) -> Result<Lines, ApiError> {
        let after = self.patience.answer;
        let begun = timeout(after, self.begin(action, request)).await;
        let body = begun.unwrap_or(Err(ApiError::Late { action, after }))?;
        Ok(Lines::new(action, body, LONGEST_LINE))
    }

    async fn begin(&self, action: Action, request: Request<Vec<u8>>) -> Result<Body, ApiError> {
        let unreachable = |source| ApiError::Unreachable { action, source };
        let client = self.client.get().map_err(unreachable)?;
        let response = client.send(request.map(Body::from)).await.map_err(unreachable)?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            self.client.give_up(&client);
        }
        Err(refusal(action, response).await)
    }
}

async fn from_file(path: &Path) -> Result<Config, kube::config::KubeconfigError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
}

/// What the server says in a refusal. Whoever is between us may say it in other words.
async fn refusal(action: Action, response: Response<Body>) -> ApiError {
    #[derive(Deserialize)]
    struct Words {
        message: String,
    }
    let status = response.status();
    let text = match read(action, response.into_body(), LONGEST_REFUSAL).await {
        Ok(text) => text,
        Err(error) => return error,
    };
    let message = serde_json::from_slice::<Words>(&text).map_or_else(
        |_| excerpt(&String::from_utf8_lossy(&text)),
        |words| words.message,
    );
    ApiError::from_answer(action, status.as_u16(), message)
}

fn excerpt(text: &str) -> String {
    const LONGEST: usize = 200;
    let words: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if words.is_empty() {
        "no explanation".to_owned()
    } else {
        words
    }
}
