//! A ztunnel and pods on one macvlan parent, a server on the LAN, and the programs that bring them together.

#[path = "../support/frame.rs"]
mod frame;
mod steering;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use netlink_packet_route::link::MacVlanMode;
use weir_agent::datapath::{Datapath, DatapathConfig, Hook, Sizes, residue};
use weir_agent::inside;
use weir_common::address::{Address, OwnAddress};
use weir_common::detour::Detour;
use weir_common::event::CounterKey;
use weir_common::names::LAYOUT_VERSION;
use weir_common::pod::PodEntry;
use weir_common::reason::Reason;
use weir_testbeds::actor::{Actor, Held};
use weir_testbeds::cgroup::Cgroup;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::link::{Device, Interface};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::{Member, Proxy, ProxyKind, ProxySpec};
use weir_testbeds::traffic::{Server, ServerSpec};

/// Where the server on the LAN is.
pub const SERVER: [&str; 2] = ["192.168.77.1", "fd77::1"];
/// Where ztunnel is.
pub const ZTUNNEL: [&str; 2] = ["192.168.77.5", "fd77::5"];
const CLIENT: [&str; 2] = ["192.168.77.11", "fd77::11"];
const NEIGHBOUR: [&str; 2] = ["192.168.77.12", "fd77::12"];
const PORT: u16 = 8080;

/// One of the parent's children.
pub struct Child {
    pub netns: Netns,
    pub addresses: [IpAddr; 2],
    pub cookie: u64,
    pub interface: Interface,
}

/// The interface of every child.
const INTERFACE: &str = "eth0";
/// The children's parent.
const PARENT: &str = "wire";
/// What tells this node's tags from others'.
pub const SECRET: [u8; 3] = [0xa1, 0xb2, 0xc3];

/// All of it. The order is that in which things go.
pub struct Scene {
    pub actor: Actor,
    pub proxy: Proxy,
    pub server: Server,
    pub client: Child,
    pub neighbour: Child,
    pub ztunnel: Child,
    pub lan: Netns,
    pub node: Netns,
    pub datapath: Datapath,
    pin_root: PathBuf,
    ztunnel_cgroup: Cgroup,
    _application_cgroup: Cgroup,
    _pods_cgroup: Cgroup,
}

impl Scene {
    /// Both pods' connections make the detour.
    pub fn detoured(label: &str) -> Self {
        let scene = Self::bare(label);
        scene.attach();
        for pod in [&scene.client, &scene.neighbour] {
            scene.enrol(pod, ZTUNNEL);
        }
        scene
    }

    /// Both pods are steered.
    pub fn steered(label: &str) -> Self {
        let scene = Self::bare(label);
        steering::start(&scene);
        scene
    }

    /// The same, as on kernels that have no links for programs at interfaces.
    pub fn steered_by_filters(label: &str) -> Self {
        let scene = Self::with_hook(label, Hook::Clsact);
        steering::start(&scene);
        scene
    }

    /// Both pods are steered, and their own connections make the detour.
    pub fn both(label: &str) -> Self {
        let scene = Self::detoured(label);
        steering::start(&scene);
        scene
    }

    /// Nothing is captured yet.
    pub fn bare(label: &str) -> Self {
        Self::with_hook(label, Hook::of_this_kernel())
    }

    fn with_hook(label: &str, hook: Hook) -> Self {
        let (node, lan) = wire();
        let [client, neighbour, ztunnel] =
            [CLIENT, NEIGHBOUR, ZTUNNEL].map(|addresses| child(&node, addresses));
        let pods_cgroup = Cgroup::new(label).unwrap();
        let [ztunnel_cgroup, application_cgroup] =
            ["ztunnel", "application"].map(|name| pods_cgroup.child(name).unwrap());
        let name = format!("weir_test_{}_{label}", std::process::id());
        let pin_root = Path::new("/sys/fs/bpf").join(name);
        let datapath = open(&pin_root, pods_cgroup.path(), hook);
        let server = ServerSpec::new("server", SocketAddr::new("::".parse().unwrap(), PORT));
        Self {
            actor: Actor::start(&client.netns, Some(&application_cgroup)).unwrap(),
            proxy: proxy(&ztunnel.netns, &ztunnel_cgroup, &[&client, &neighbour]),
            server: Server::start(&lan, &server).unwrap(),
            client,
            neighbour,
            ztunnel,
            lan,
            node,
            datapath,
            pin_root,
            ztunnel_cgroup,
            _application_cgroup: application_cgroup,
            _pods_cgroup: pods_cgroup,
        }
    }

    pub fn attach(&self) {
        let attached = self.datapath.attach_detours(self.ztunnel_cgroup.path());
        attached.unwrap_or_else(|error| panic!("{error}: {error:#?}"));
    }

    /// Turns the pod's connections to ztunnel at these addresses.
    pub fn enrol(&self, pod: &Child, ztunnel: [&str; 2]) {
        let maps = self.datapath.maps();
        for address in pod.addresses.map(Address::from) {
            let own = OwnAddress {
                netns: pod.cookie,
                address,
            };
            maps.own_addresses().unwrap().insert(own, 1, 0).unwrap();
            let mut holders = maps.pods_by_address().unwrap();
            holders.insert(address, pod.cookie, 0).unwrap();
        }
        let [v4, v6] = ztunnel.map(|text| Address::from(text.parse::<IpAddr>().unwrap()));
        let detour = Detour { v4, v6 };
        maps.detours().unwrap().insert(pod.cookie, detour, 0).unwrap();
    }

    /// Where the server is reached.
    pub fn servers(&self) -> [SocketAddr; 2] {
        SERVER.map(|address| SocketAddr::new(address.parse().unwrap(), PORT))
    }

    /// How often it came to this in the client.
    pub fn count(&self, reason: Reason) -> u64 {
        self.count_in(self.client.cookie, reason)
    }

    /// How often it came to this in the pod, or 0 for nobody's.
    pub fn count_in(&self, netns: u64, reason: Reason) -> u64 {
        let key = CounterKey {
            netns,
            reason: reason as u32,
            reserved: 0,
        };
        let counters = self.datapath.maps().counters().unwrap();
        counters.get(&key, 0).map_or(0, |per_cpu| per_cpu.iter().sum())
    }

    /// Waits until it has come to this so often, in the pod or to nobody.
    pub fn wait_for(&self, netns: u64, reason: Reason, count: u64) {
        eventually(PATIENCE, || (self.count_in(netns, reason) >= count).then_some(()))
            .unwrap_or_else(|late| panic!("{}: {late}", reason.name()));
    }

    /// Starts to steer while these connections of the client are open, which is noted first.
    pub fn start_steering_with(&self, open: &[Held]) {
        steering::start_with(self, open);
    }

    /// Attaches the programs that steer, again if they are there.
    pub fn attach_steering(&self) {
        steering::attach(self);
    }

    /// Takes the programs that steer away, as far as they are there.
    pub fn detach_steering(&self) {
        steering::detach(self);
    }

    /// Tells the kernel side about the client.
    pub fn set_entry(&self, flags: u32) {
        let entry = PodEntry { flags, sysctls: 0 };
        let maps = self.datapath.maps();
        maps.set_pod(self.client.cookie, entry.into()).unwrap();
        maps.begin_era().unwrap();
    }

    /// The client's own interface.
    pub fn interfaces_of_client(&self) -> [weir_agent::datapath::Interface; 1] {
        [steering::interface(&self.client.netns, INTERFACE)]
    }

    /// Sends a frame on the LAN, from the host there.
    pub fn send_from_lan(&self, bytes: &[u8]) {
        let index = self
            .lan
            .netlink(async |link| link.interface(INTERFACE).await)
            .unwrap()
            .index;
        let neighbour = SocketAddr::new(self.ztunnel.addresses[0], 9);
        self.lan.run(|| frame::send(index, neighbour, bytes)).unwrap();
    }

    /// Waits until no destination is remembered any more.
    pub fn wait_for_nothing_remembered(&self) {
        let originals = self.datapath.maps().originals().unwrap();
        eventually(PATIENCE, || originals.keys().next().is_none().then_some(()))
            .unwrap_or_else(|late| panic!("destinations stay: {late}"));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Err(error) = residue::remove(&self.pin_root) {
            eprintln!("{} stays behind: {error}", self.pin_root.display());
        }
    }
}

/// The parent and the LAN behind it.
fn wire() -> (Netns, Netns) {
    let (node, lan) = (Netns::new().unwrap(), Netns::new().unwrap());
    let (near, far) = (Device::named(PARENT), Device::named(INTERFACE));
    node.netlink(async |link| link.add_veth(&near, &far, &lan).await)
        .unwrap();
    lan.netlink(async |link| link.up(INTERFACE).await).unwrap();
    node.netlink(async |link| link.running(PARENT).await).unwrap();
    address(&lan, SERVER);
    (node, lan)
}

fn child(node: &Netns, addresses: [&str; 2]) -> Child {
    let netns = Netns::new().unwrap();
    let device = Device::named(INTERFACE);
    node.netlink(async |link| {
        link.add_macvlan(&device, PARENT, MacVlanMode::Bridge, &netns)
            .await
    })
    .unwrap();
    netns
        .netlink(async |link| link.name_child(INTERFACE).await)
        .unwrap();
    address(&netns, addresses);
    let cookie = inside::cookie(netns.as_fd()).unwrap();
    let interface = netns
        .netlink(async |link| link.interface(INTERFACE).await)
        .unwrap();
    Child {
        netns,
        addresses: addresses.map(|text| text.parse().unwrap()),
        cookie,
        interface,
    }
}

fn address(netns: &Netns, addresses: [&str; 2]) {
    netns
        .netlink(async |link| {
            link.running(INTERFACE).await?;
            for (address, length) in addresses.iter().zip([24, 64]) {
                let address = format!("{address}/{length}").parse().unwrap();
                link.add_address(INTERFACE, address).await?;
            }
            link.link_local(INTERFACE).await
        })
        .unwrap();
}

fn proxy(netns: &Netns, cgroup: &Cgroup, pods: &[&Child]) -> Proxy {
    let names = ["client", "neighbour"];
    let members = names
        .into_iter()
        .zip(pods)
        .map(|(name, pod)| Member::local(name, pod.addresses));
    let spec = ProxySpec::node(netns, ZTUNNEL[0].parse().unwrap())
        .members(members)
        .cgroup(cgroup.path());
    let proxy = Proxy::start_kind(ProxyKind::stand_in().unwrap(), spec).unwrap();
    proxy.wait_ready(PATIENCE).unwrap();
    proxy
}

fn open(pin_root: &Path, cgroup: &Path, hook: Hook) -> Datapath {
    let config = DatapathConfig {
        pin_root: pin_root.to_owned(),
        layout: LAYOUT_VERSION,
        cgroup: cgroup.to_owned(),
        sizes: Sizes {
            pods: 64,
            probes: 256,
            connections: 16384,
            rules: 256,
            event_bytes: 4096,
            ..Sizes::default()
        },
        hook,
    };
    Datapath::open(&config).unwrap_or_else(|error| panic!("{error}: {error:#?}"))
}
