//! Connections through the proxy, by the listener that takes them.

mod hbone;
mod inbound;
mod outbound;
mod relay;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::mesh::{Mesh, Peer};
use crate::preface;
use crate::record::{Direction, Outcome, Record, Recorder};
use crate::route::{Denial, HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT, Route, SameNode};
use crate::sockets::{ACCEPT_PAUSE, Factory, canonical};

/// What the listeners of one namespace share.
pub struct Instance {
    /// Makes the sockets.
    pub sockets: Factory,
    /// Whom it serves.
    pub serves: Serves,
    /// Do upstream connections come from the client's address, and may listeners take foreign ones?
    pub original_source: bool,
    /// Who is in the mesh.
    pub mesh: Arc<Mesh>,
    /// Where records go.
    pub recorder: Recorder,
    /// Turns true when open connections must end.
    pub cut: watch::Receiver<bool>,
}

/// The two contracts, as far as connections see them.
pub enum Serves {
    /// One pod, in whose namespace the listeners are.
    Pod {
        /// Its UID.
        uid: String,
        /// Whose it is, as `namespace/service account`.
        identity: String,
    },
    /// All pods of a node, known by their addresses.
    Node(SameNode),
}

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error("cannot connect to {0}: {1}")]
    Upstream(SocketAddr, io::Error),
    #[error("the tunnel's other end says: {0}")]
    Refused(String),
    #[error(transparent)]
    Preface(#[from] preface::Error),
    #[error(transparent)]
    Socket(#[from] io::Error),
}

impl Failure {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Denied(_) => Outcome::Denied,
            Self::Upstream(..) | Self::Refused(_) | Self::Preface(_) | Self::Socket(_) => Outcome::Failed,
        }
    }
}

/// An upstream connection that stands.
struct Upstream {
    stream: TcpStream,
    /// Bytes for the upstream that the client sent with its preface.
    to_upstream: Vec<u8>,
    /// Bytes for the client that the upstream sent with its answer.
    to_client: Vec<u8>,
}

impl From<TcpStream> for Upstream {
    fn from(stream: TcpStream) -> Self {
        Self {
            stream,
            to_upstream: Vec::new(),
            to_client: Vec::new(),
        }
    }
}

/// Binds the three listeners and serves them; the tasks end when the set is dropped.
pub async fn listen(instance: &Arc<Instance>) -> io::Result<JoinSet<()>> {
    let ports = [
        (Direction::Outbound, OUTBOUND_PORT),
        (Direction::Inbound, INBOUND_PORT),
        (Direction::Hbone, HBONE_PORT),
    ];
    let mut listeners = Vec::new();
    for (direction, port) in ports {
        let listener = instance.sockets.listen(port, instance.original_source).await;
        listeners.push((direction, listener.map_err(|error| in_use(port, &error))?));
    }
    let mut tasks = JoinSet::new();
    for (direction, listener) in listeners {
        tasks.spawn(accept(Arc::clone(instance), direction, listener));
    }
    Ok(tasks)
}

fn in_use(port: u16, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("Bind([::]:{port}, {error})"))
}

async fn accept(instance: Arc<Instance>, direction: Direction, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let instance = Arc::clone(&instance);
                // Not in a set: open connections outlive their listener until they are cut.
                tokio::spawn(async move { instance.serve(direction, stream, canonical(peer)).await });
            }
            Err(error) => {
                eprintln!("weir-standin: accept on {direction:?}: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Instance {
    async fn serve(&self, direction: Direction, mut client: TcpStream, peer: SocketAddr) {
        let mut cut = self.cut.clone();
        let work = async {
            let mut record = self.new_record(direction, peer);
            let result = self.connect(direction, &mut client, peer, &mut record).await;
            self.note(record, &result);
            if let Ok(upstream) = result {
                relay::relay(client, upstream).await;
            }
        };
        tokio::select! {
            () = work => {}
            // An error means that nobody is left to cut anything, which is the same.
            _ = cut.wait_for(|cut| *cut) => {}
        }
    }

    async fn connect(
        &self,
        direction: Direction,
        client: &mut TcpStream,
        peer: SocketAddr,
        record: &mut Record,
    ) -> Result<Upstream, Failure> {
        client.set_nodelay(true)?;
        match direction {
            Direction::Outbound => self.outbound(client, peer, record).await,
            Direction::Inbound => self.inbound(client, peer, record).await,
            Direction::Hbone | Direction::Dns => self.hbone(client, peer, record).await,
        }
    }

    /// Connects to `address`, and writes down from where.
    async fn dial(
        &self,
        address: SocketAddr,
        spoofed: Option<IpAddr>,
        record: &mut Record,
    ) -> Result<TcpStream, Failure> {
        record.upstream = Some(address);
        let stream = self.sockets.connect(address, spoofed).await;
        let stream = stream.map_err(|error| Failure::Upstream(address, error))?;
        record.upstream_source = stream.local_addr().ok().map(canonical);
        Ok(stream)
    }

    async fn dial_application(
        &self,
        route: Route,
        client: SocketAddr,
        record: &mut Record,
    ) -> Result<TcpStream, Failure> {
        let (Route::Direct(address) | Route::Tunnel(address)) = route;
        self.dial(address, self.original_source.then_some(client.ip()), record)
            .await
    }

    fn peer(&self, address: IpAddr) -> Peer {
        self.mesh.peer(address)
    }

    fn new_record(&self, direction: Direction, peer: SocketAddr) -> Record {
        let mut record = Record::new(direction);
        record.peer = Some(peer);
        if let Serves::Pod { uid, .. } = &self.serves {
            record.pod = Some(uid.clone());
        }
        record
    }

    fn note(&self, mut record: Record, result: &Result<Upstream, Failure>) {
        match result {
            Ok(_) => record.outcome = Outcome::Connected,
            Err(failure) => {
                record.outcome = failure.outcome();
                record.error = Some(failure.to_string());
            }
        }
        self.recorder.write(record);
    }
}
