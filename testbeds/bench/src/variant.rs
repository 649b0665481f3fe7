//! The ways from one pod to the other.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use serde::Serialize;
use weir_testbeds::mesh::{self, Mesh};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::ProxyKind;
use weir_testbeds::world::{Wiring, World};

use crate::baseline::Baseline;
use crate::load::server::{KEEP_ALIVE_PORT, Server};
use crate::load::{self};

const CLIENT: &str = "client";
const SERVER: &str = "server";
/// As Calico does.
const WIRING: Wiring = Wiring::PointToPoint;

/// A way from one pod to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// No proxy.
    Direct,
    /// Through the proxy, by iptables rules.
    Iptables,
    /// Through the proxy, by Weir.
    Weir,
}

impl Variant {
    pub const ALL: [Self; 3] = [Self::Direct, Self::Iptables, Self::Weir];

    /// The word for it in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Iptables => "iptables",
            Self::Weir => "Weir",
        }
    }

    /// Makes a world anew, with a server in it, and proves which way connections take.
    pub fn start(self, proxy: &ProxyKind) -> Result<Stage> {
        let world = match self {
            Self::Direct => Behind::Nothing(world()?),
            Self::Iptables => Behind::Rules(Baseline::start(world()?, proxy)?),
            Self::Weir => Behind::Weir(mesh(proxy).start()?),
        };
        Stage::on(world, self)
    }
}

impl Stage {
    /// Weir without what looks at packets.
    pub fn unguarded(proxy: &ProxyKind) -> Result<Self> {
        let mesh = mesh(proxy).flag("--guard=off").start()?;
        Self::on(Behind::Weir(mesh), Variant::Weir)
    }

    /// Puts a server into the world and proves which way connections take.
    fn on(world: Behind, variant: Variant) -> Result<Self> {
        let server = Server::start(world.netns(SERVER), world.world().pod(SERVER).address())?;
        let stage = Self { server, world };
        let proxied = load::passes_proxy(stage.client(), stage.to(KEEP_ALIVE_PORT))?;
        ensure!(
            proxied == (variant != Variant::Direct),
            "{}: the connection went the wrong way",
            variant.name()
        );
        Ok(stage)
    }
}

fn world() -> Result<World> {
    Ok(World::builder("bench")
        .wiring(WIRING)
        .pods([CLIENT, SERVER])
        .build()?)
}

/// Two pods in the mesh.
fn mesh(proxy: &ProxyKind) -> mesh::Builder {
    Mesh::builder("bench")
        .wiring(WIRING)
        .enrolled(CLIENT)
        .enrolled(SERVER)
        .proxy_kind(proxy.clone())
        .without_records()
}

/// A world that is ready for load.
pub struct Stage {
    // Stops before its world goes.
    pub server: Server,
    pub world: Behind,
}

/// What is between the two pods.
pub enum Behind {
    Nothing(World),
    Rules(Baseline),
    Weir(Mesh),
}

impl Behind {
    fn world(&self) -> &World {
        match self {
            Self::Nothing(world) => world,
            Self::Rules(baseline) => &baseline.world,
            Self::Weir(mesh) => &mesh.world,
        }
    }

    fn netns(&self, pod: &str) -> &Netns {
        &self.world().pod(pod).netns
    }
}

impl Stage {
    /// Where clients live.
    pub fn client(&self) -> &Netns {
        self.world.netns(CLIENT)
    }

    /// Where clients connect.
    pub fn to(&self, port: u16) -> SocketAddr {
        let address: IpAddr = self.world.world().pod(SERVER).address();
        SocketAddr::new(address, port)
    }

    /// The proxy's process, if there is one.
    pub fn proxy(&self) -> Option<u32> {
        match &self.world {
            Behind::Nothing(_) => None,
            Behind::Rules(baseline) => baseline.proxy.id(),
            Behind::Weir(mesh) => mesh.proxy.id(),
        }
    }

    /// The mesh, where Weir redirects.
    pub fn mesh(&mut self) -> Option<&mut Mesh> {
        match &mut self.world {
            Behind::Weir(mesh) => Some(mesh),
            Behind::Nothing(_) | Behind::Rules(_) => None,
        }
    }
}
