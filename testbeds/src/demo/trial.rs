//! Trying a pair: which way the connections went, what each side saw, how long it took.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use weir_common::ports;

use super::cast::{self, PORT};
use super::pair::{Pair, Way};
use crate::mesh::Mesh;
use crate::proxy::{Direction, Proxy, Record};
use crate::traffic::{Client, ClientSpec, Exchange, Failure};
use crate::world::World;

/// Connections per pair. The time is that of the quickest: whatever else the machine does only adds to it.
const CONNECTIONS: usize = 20;
/// How long the proxy may take to write down what it saw.
const RECORDED: Duration = Duration::from_secs(5);

/// What came of trying a pair.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) pair: &'static Pair,
    pub(super) client: Option<IpAddr>,
    pub(super) dialled: SocketAddr,
    pub(super) result: Result<Seen, Failure>,
}

/// What was seen of connections that came about.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) way: Way,
    /// The source that the server saw.
    pub(super) by_server: IpAddr,
    /// The destination that the client's socket shows.
    pub(super) by_client: SocketAddr,
    pub(super) quickest: Duration,
}

/// Tries a pair where no agent is.
pub(super) fn direct(world: &World, pair: &'static Pair, to: IpAddr) -> Trial {
    attempt(world, pair, to, |_| Way::Unknown)
}

/// Tries a pair in the mesh.
pub(super) fn in_mesh(mesh: &Mesh, pair: &'static Pair, to: IpAddr) -> Trial {
    attempt(&mesh.world, pair, to, |exchange| {
        let dialled = SocketAddr::new(to, PORT);
        let is_this = |record: &Record| is_about(record, exchange, dialled);
        mesh_way(&mesh.proxy, is_this)
    })
}

fn attempt(
    world: &World,
    pair: &'static Pair,
    to: IpAddr,
    through_proxy: impl Fn(&Exchange) -> Way,
) -> Trial {
    let dialled = SocketAddr::new(to, PORT);
    let connections = cast::netns(world, pair.from).run(|| connect_often(dialled));
    Trial {
        pair,
        client: cast::addresses(world, pair.from).like(to),
        dialled,
        result: connections.map(|connections| Seen::of(&connections, through_proxy)),
    }
}

fn connect_often(to: SocketAddr) -> Result<Vec<(Exchange, Duration)>, Failure> {
    (0..CONNECTIONS)
        .map(|_| {
            let began = Instant::now();
            let exchange = Client::connect_here(&ClientSpec::to(to))?.converse()?;
            Ok((exchange, began.elapsed()))
        })
        .collect()
}

impl Seen {
    /// `through_proxy` tells the way of a connection that had somebody in between.
    fn of(connections: &[(Exchange, Duration)], through_proxy: impl Fn(&Exchange) -> Way) -> Self {
        let (last, _) = &connections[connections.len() - 1];
        let straight = connections.iter().filter(|(each, _)| is_straight(each)).count();
        let way = match straight {
            0 => through_proxy(last),
            all if all == connections.len() => Way::Bypass,
            _ => Way::Mixed,
        };
        let times = connections.iter().map(|(_, time)| *time);
        Self {
            way,
            by_server: last.server.peer.ip(),
            by_client: last.peer,
            quickest: times.min().unwrap_or_default(),
        }
    }
}

/// Whether the server saw the client's very socket: whoever is in between has a port of its own.
fn is_straight(exchange: &Exchange) -> bool {
    exchange.server.peer == exchange.local
}

/// Whether the record is of the client's own connection, not of the tunnel behind it.
fn is_about(record: &Record, exchange: &Exchange, dialled: SocketAddr) -> bool {
    matches!(record.direction, Direction::Outbound | Direction::Inbound)
        && record.peer == Some(exchange.local)
        && record.original_destination == Some(dialled)
}

fn mesh_way(proxy: &Proxy, is_this: impl Fn(&Record) -> bool) -> Way {
    match proxy.wait_for(RECORDED, is_this) {
        Ok(record)
            if record
                .upstream
                .is_some_and(|upstream| upstream.port() == ports::HBONE) =>
        {
            Way::Hbone
        }
        Ok(_) => Way::Plaintext,
        Err(_) => Way::Unknown,
    }
}
