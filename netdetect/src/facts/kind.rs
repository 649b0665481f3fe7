//! Kinds of interfaces.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of interface it is, as the kernel says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Kind {
    /// `lo`.
    Loopback,
    /// One end of a pair.
    Veth,
    /// One end of a pair made for eBPF.
    Netkit {
        /// Whether it carries Ethernet.
        mode: NetkitMode,
    },
    /// A child with an Ethernet address of its own.
    Macvlan {
        /// Whom it may talk to.
        mode: MacvlanMode,
    },
    /// The same, with its packets handed to a process.
    Macvtap {
        /// Whom it may talk to.
        mode: MacvlanMode,
    },
    /// A child that shares its parent's Ethernet address.
    Ipvlan {
        /// On which layer it is joined to its parent.
        mode: IpvlanMode,
    },
    /// A VLAN of its parent.
    Vlan {
        /// Which.
        id: u16,
    },
    /// A bridge.
    Bridge,
    /// A tap or tun interface, behind which a process is: a virtual machine, or a VPN.
    Tun,
    /// An interface that leads nowhere.
    Dummy,
    /// Several interfaces made one.
    Bond,
    /// A tunnel, or another kind that leads over other interfaces.
    Tunnel {
        /// The kernel's word for it.
        name: String,
    },
    /// A device: real, virtual function, or a virtual machine's.
    Physical {
        /// The bus it is on, as the kernel says it since 5.14.
        bus: Option<String>,
        /// Its name on that bus.
        device: Option<String>,
    },
    /// A kind that Weir knows nothing about.
    Other {
        /// The kernel's word for it.
        name: String,
    },
}

/// Whether a netkit pair carries Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetkitMode {
    /// It does.
    L2,
    /// It does not.
    L3,
    /// The kernel did not say, or a number that has no name yet.
    Unknown,
}

/// Which neighbours a macvlan child may talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MacvlanMode {
    /// The LAN and the other children.
    Bridge,
    /// The LAN; other children by way of a switch that sends frames back.
    Vepa,
    /// The LAN alone.
    Private,
    /// The LAN; the parent has no other child.
    Passthru,
    /// Senders on a list.
    Source,
    /// The kernel did not say, or a number that has no name yet.
    Unknown,
}

/// On which layer an ipvlan child is joined to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpvlanMode {
    /// The link.
    L2,
    /// Routing, past the node's packet filters.
    L3,
    /// Routing, through the node's packet filters.
    L3s,
    /// The kernel did not say, or a number that has no name yet.
    Unknown,
}

impl Kind {
    /// The word for it, without its mode.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Loopback => "loopback",
            Self::Veth => "veth",
            Self::Netkit { .. } => "netkit",
            Self::Macvlan { .. } => "macvlan",
            Self::Macvtap { .. } => "macvtap",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Vlan { .. } => "vlan",
            Self::Bridge => "bridge",
            Self::Tun => "tun",
            Self::Dummy => "dummy",
            Self::Bond => "bond",
            Self::Tunnel { name } | Self::Other { name } => name,
            Self::Physical { .. } => "device",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Netkit { mode } => write!(f, " {mode}"),
            Self::Macvlan { mode } | Self::Macvtap { mode } => write!(f, " {mode}"),
            Self::Ipvlan { mode } => write!(f, " {mode}"),
            Self::Vlan { id } => write!(f, " {id}"),
            Self::Physical {
                bus: Some(bus),
                device: Some(device),
            } => write!(f, " {bus} {device}"),
            Self::Loopback
            | Self::Veth
            | Self::Bridge
            | Self::Tun
            | Self::Dummy
            | Self::Bond
            | Self::Tunnel { .. }
            | Self::Other { .. }
            | Self::Physical { .. } => Ok(()),
        }
    }
}

impl fmt::Display for NetkitMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::Unknown => "of an unknown mode",
        })
    }
}

impl fmt::Display for MacvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Vepa => "vepa",
            Self::Private => "private",
            Self::Passthru => "passthru",
            Self::Source => "source",
            Self::Unknown => "of an unknown mode",
        })
    }
}

impl fmt::Display for IpvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::L3s => "l3s",
            Self::Unknown => "of an unknown mode",
        })
    }
}
