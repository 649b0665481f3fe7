//! What variants are compared in: how pods are wired, and where the proxy's sockets are.

use std::net::IpAddr;

use anyhow::Result;
use serde::Serialize;
use weir_testbeds::mesh::{Builder, Mesh, ZTUNNEL};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::ProxyKind;
use weir_testbeds::world::{Wiring, World};

use crate::cli::Contract;
use crate::variant::Variant;

/// The pod that clients are in.
pub const CLIENT: &str = "client";
/// The pod that the server is in, where it is in one.
pub const SERVER: &str = "server";

/// A way to wire pods and proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// Pods on veth as Calico wires them, the proxy's sockets in them.
    InPod,
    /// The same pods, the proxy's sockets in a pod of its own.
    Node,
    /// Pods and the proxy's own on macvlan, the server on the LAN.
    Macvlan,
}

impl Setting {
    /// What is compared: nothing, a way, and the way that is to be better.
    pub const fn variants(self) -> [Variant; 3] {
        match self {
            Self::InPod | Self::Node => [Variant::Direct, Variant::Iptables, Variant::Weir],
            Self::Macvlan => [Variant::Direct, Variant::Socket, Variant::Steer],
        }
    }

    /// What it is called in reports.
    pub const fn title(self) -> &'static str {
        match self {
            Self::InPod => "Pods on veth, the proxy in the pods",
            Self::Node => "Pods on veth, the proxy in a pod of its own",
            Self::Macvlan => "Pods on macvlan, the two ways out",
        }
    }

    /// Where the proxy's sockets are.
    pub const fn contract(self) -> Contract {
        match self {
            Self::InPod => Contract::InPod,
            Self::Node | Self::Macvlan => Contract::Node,
        }
    }

    const fn wiring(self) -> Wiring {
        match self {
            Self::InPod | Self::Node => Wiring::PointToPoint,
            Self::Macvlan => Wiring::MacvlanBridge,
        }
    }

    /// The pods, and nobody who redirects.
    pub fn world(self) -> Result<World> {
        let builder = World::builder("bench").wiring(self.wiring());
        Ok(builder.pods([CLIENT, SERVER]).build()?)
    }

    /// The same with a pod for the proxy, if it has one of its own.
    pub fn world_with_proxy(self) -> Result<World> {
        let mut world = self.world()?;
        if self.contract() == Contract::Node {
            world.add_pod(ZTUNNEL, self.wiring())?;
        }
        Ok(world)
    }

    /// Two pods in the mesh.
    pub fn mesh(self, proxy: &ProxyKind) -> Builder {
        let builder = Mesh::builder("bench")
            .wiring(self.wiring())
            .enrolled(CLIENT)
            .enrolled(SERVER)
            .proxy_kind(proxy.clone())
            .without_records();
        match self.contract() {
            Contract::InPod => builder,
            Contract::Node => builder.ztunnel_outside(self.wiring()),
        }
    }

    /// Where the server is. A way out is seen best where the way in is nobody's.
    pub fn server(self, world: &World) -> (&Netns, IpAddr) {
        let pod = world.pod(SERVER);
        match self {
            Self::InPod | Self::Node => (&pod.netns, pod.address()),
            Self::Macvlan => {
                let remote = &world.remote;
                // A world with the pod's family has a host of that family.
                let address = remote.address_like(pod.address());
                (&remote.netns, address.unwrap_or_else(|| pod.address()))
            }
        }
    }
}
