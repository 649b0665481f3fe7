//! An API server in memory: lists, watches and single objects of pods and namespaces.

mod answer;
mod store;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::task::{JoinHandle, JoinSet};
use weir_agent::api_server::{ApiServer, Patience};

pub use store::{Kind, Store};

/// Impatient, so that tests are quick.
pub const PATIENCE: Patience = Patience {
    answer: Duration::from_millis(700),
    silence: Duration::from_millis(700),
    watch: Duration::from_secs(2),
    first_pause: Duration::from_millis(10),
    longest_pause: Duration::from_millis(100),
};

/// What is wrong with the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It answers all requests for a kind, or all watches, with an error.
    Refuse {
        kind: Kind,
        watches_only: bool,
        code: u16,
    },
    /// It answers all patches, or all new events, with an error.
    RefuseWrites { of_events: bool, code: u16 },
    /// It answers only those who show this token.
    AcceptOnly(&'static str),
    /// It takes requests and never answers.
    Hang,
    /// What answers is not an API server.
    Garbage,
    /// Lists are well; watches begin, and end at once.
    EndWatches,
    /// Lists are well; watches begin, and no event comes.
    SilentWatches,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub accept: String,
    pub authorization: String,
    pub body: Vec<u8>,
}

/// What the server knows, and what it was asked; it outlives the server's being away.
#[derive(Default)]
pub struct Shared {
    pub store: Store,
    pub fault: Mutex<Option<Fault>>,
    pub events: Mutex<Vec<Value>>,
    pub asked: Mutex<Vec<Asked>>,
}

pub struct Fake {
    pub shared: Arc<Shared>,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start() -> Self {
        let mut fake = Self {
            shared: Arc::default(),
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            serving: None,
        };
        fake.come_back();
        fake
    }

    /// Closes the listener and all connections.
    pub async fn go_away(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            serving.await.unwrap_err();
        }
    }

    /// Listens again, where it did before.
    pub fn come_back(&mut self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(64).unwrap();
        self.address = listener.local_addr().unwrap();
        let shared = self.shared.clone();
        self.serving = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = shared.clone();
                let service = service_fn(move |request| serve(shared.clone(), request));
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        }));
    }

    pub fn client(&self) -> ApiServer {
        self.client_with(PATIENCE)
    }

    pub fn client_with(&self, patience: Patience) -> ApiServer {
        ApiServer::with_config(self.config(), patience).unwrap()
    }

    /// One that shows the token that is in this file.
    pub fn client_with_token(&self, file: &Path) -> ApiServer {
        let mut config = self.config();
        config.auth_info.token_file = Some(file.to_str().unwrap().to_owned());
        ApiServer::with_config(config, PATIENCE).unwrap()
    }

    fn config(&self) -> kube::Config {
        kube::Config::new(format!("http://{}", self.address).parse().unwrap())
    }

    pub fn fail(&self, fault: impl Into<Option<Fault>>) {
        *self.shared.fault.lock().unwrap() = fault.into();
        // Watches that are under way notice.
        self.shared.store.touch();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub fn events(&self) -> Vec<Value> {
        self.shared.events.lock().unwrap().clone()
    }

    pub fn put(&self, kind: Kind, object: Value) {
        self.shared.store.put(kind, object);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<hyper::Response<answer::Body>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| {
        let value = parts.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or("").to_owned(),
        accept: header("accept"),
        authorization: header("authorization"),
        body: body.collect().await?.to_bytes().to_vec(),
    };
    shared.asked.lock().unwrap().push(asked.clone());
    Ok(answer::answer(shared, &asked).await)
}
