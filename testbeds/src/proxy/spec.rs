//! What a proxy is to be.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::netns::Netns;
use crate::world::Pod;

/// A proxy, before it runs.
#[derive(Clone, Debug)]
pub struct ProxySpec {
    /// The contract it keeps with the redirector.
    pub contract: Contract,
    /// Where the process itself lives.
    pub netns: Netns,
    /// The directory of the cgroup it starts in.
    pub cgroup: Option<PathBuf>,
    /// Who is in the mesh.
    pub members: Vec<Member>,
    /// What it does about DNS (in-pod contract).
    pub dns: Dns,
    /// Whether applications see the client's address, and listeners take foreign addresses.
    pub original_source: bool,
    /// Whether connections are written down; measurements are truer without.
    pub record: bool,
    /// How many worker threads it has; none for its own default.
    pub threads: Option<usize>,
}

/// The two contracts between ztunnel and a redirector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contract {
    /// Sockets in the namespaces that a node agent hands over.
    InPod {
        /// The node agent's socket.
        zds: PathBuf,
    },
    /// Sockets in the proxy's own namespace.
    Node {
        /// The proxy's own address.
        address: IpAddr,
        /// Whether two pods of the node talk through a tunnel that the redirector turns back.
        hairpin: bool,
    },
}

/// A pod that the proxy knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it has a proxy, so that it is reached by tunnel.
    pub enrolled: bool,
    /// Whether it runs on the proxy's own node.
    pub local: bool,
}

/// What the proxy does about DNS; the real ztunnel knows only on and off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dns {
    /// No listeners.
    #[default]
    Off,
    /// Fixed answers: a name, or every name, and an address.
    Answers(Vec<(Option<String>, IpAddr)>),
    /// All questions go to a server.
    Upstream(SocketAddr),
}

impl ProxySpec {
    /// A proxy that gets its pods over ZDS.
    pub fn in_pod(netns: &Netns, zds: &Path) -> Self {
        Self::new(netns, Contract::InPod { zds: zds.to_owned() })
    }

    /// A proxy that takes the connections of all pods in its own namespace, at this address.
    pub fn node(netns: &Netns, address: IpAddr) -> Self {
        Self::new(
            netns,
            Contract::Node {
                address,
                hairpin: false,
            },
        )
    }

    fn new(netns: &Netns, contract: Contract) -> Self {
        Self {
            contract,
            netns: netns.clone(),
            cgroup: None,
            members: Vec::new(),
            dns: Dns::Off,
            original_source: true,
            record: true,
            threads: None,
        }
    }

    /// Adds members of the mesh.
    pub fn members(mut self, members: impl IntoIterator<Item = Member>) -> Self {
        self.members.extend(members);
        self
    }

    /// Starts in a cgroup.
    pub fn cgroup(mut self, directory: &Path) -> Self {
        self.cgroup = Some(directory.to_owned());
        self
    }

    /// Sets what it does about DNS.
    pub fn dns(mut self, dns: Dns) -> Self {
        self.dns = dns;
        self
    }

    /// Shows applications the proxy's own address instead of the client's.
    pub fn without_original_source(mut self) -> Self {
        self.original_source = false;
        self
    }

    /// Writes nothing down.
    pub fn without_records(mut self) -> Self {
        self.record = false;
        self
    }

    /// Sends what two pods of the node say to each other through a tunnel (node contract).
    pub fn hairpin(mut self) -> Self {
        if let Contract::Node { hairpin, .. } = &mut self.contract {
            *hairpin = true;
        }
        self
    }
}

impl Member {
    /// An enrolled pod of the proxy's own node, in the namespace and with the service account `default`.
    pub fn local(name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            service_account: "default".to_owned(),
            addresses: addresses.into_iter().collect(),
            enrolled: true,
            local: true,
        }
    }

    /// An enrolled pod of another node.
    pub fn remote(name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            local: false,
            ..Self::local(name, addresses)
        }
    }

    /// A pod of a world, as enrolled.
    pub fn of(pod: &Pod) -> Self {
        Self::local(
            &pod.name,
            pod.attachments()
                .flat_map(|attachment| attachment.addresses.iter()),
        )
    }

    /// Takes it out of the mesh, known but without a proxy.
    pub fn plain(mut self) -> Self {
        self.enrolled = false;
        self
    }
}
