//! The ways from client to server.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use serde::Serialize;
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::ProxyKind;
use weir_testbeds::world::World;

use crate::baseline::Baseline;
use crate::cli::Contract;
use crate::load::server::{KEEP_ALIVE_PORT, Server};
use crate::load::{self};
use crate::setting::{CLIENT, Setting};

/// A way from client to server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// No proxy.
    Direct,
    /// Through the proxy, by iptables rules.
    Iptables,
    /// Through the proxy, by Weir.
    Weir,
    /// The same, where pods have no host side: connections are made to the proxy in the first place.
    Socket,
    /// The same, where pods have no host side: frames are addressed to the proxy.
    Steer,
}

impl Variant {
    /// The word for it in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Iptables => "iptables",
            Self::Weir => "Weir",
            Self::Socket => "socket",
            Self::Steer => "steer",
        }
    }

    /// Pods in the mesh, where Weir is to redirect.
    pub fn mesh(self, setting: Setting, proxy: &ProxyKind) -> Builder {
        let builder = setting.mesh(proxy);
        match self {
            Self::Socket | Self::Steer => builder.flag("--macvlan-outbound").flag(self.name()),
            Self::Direct | Self::Iptables | Self::Weir => builder,
        }
    }

    /// Makes a world anew, with a server in it, and proves which way connections take.
    pub fn start(self, setting: Setting, proxy: &ProxyKind) -> Result<Stage> {
        let world = match self {
            Self::Direct => Behind::Nothing(setting.world()?),
            Self::Iptables => Behind::Rules(baseline(setting, proxy)?),
            Self::Weir | Self::Socket | Self::Steer => Behind::Weir(self.mesh(setting, proxy).start()?),
        };
        Stage::on(world, (self, setting))
    }
}

fn baseline(setting: Setting, proxy: &ProxyKind) -> Result<Baseline> {
    let world = setting.world_with_proxy()?;
    match setting.contract() {
        Contract::InPod => Baseline::in_pod(world, proxy),
        Contract::Node => Baseline::node(world, proxy),
    }
}

/// A world that is ready for load.
pub struct Stage {
    // Stops before its world goes.
    pub server: Server,
    address: IpAddr,
    pub world: Behind,
}

/// What is between client and server.
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
}

impl Stage {
    /// Weir without what looks at packets.
    pub fn unguarded(setting: Setting, proxy: &ProxyKind) -> Result<Self> {
        let mesh = setting.mesh(proxy).flag("--guard=off").start()?;
        Self::on(Behind::Weir(mesh), (Variant::Weir, setting))
    }

    /// Puts a server into the world and proves which way connections take.
    fn on(world: Behind, (variant, setting): (Variant, Setting)) -> Result<Self> {
        let (netns, address) = setting.server(world.world());
        let server = Server::start(netns, address)?;
        let stage = Self {
            server,
            address,
            world,
        };
        let proxied = load::passes_proxy(stage.client(), stage.to(KEEP_ALIVE_PORT))?;
        ensure!(
            proxied == (variant != Variant::Direct),
            "{}: the connection went the wrong way",
            variant.name()
        );
        Ok(stage)
    }

    /// Where clients live.
    pub fn client(&self) -> &Netns {
        &self.world.world().pod(CLIENT).netns
    }

    /// Where clients connect.
    pub fn to(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
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
