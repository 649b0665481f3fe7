//! What the kernel side has counted and noted for a pod.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::maps::{Array, Map, MapData};
use weir_agent::datapath::{Maps, Pins};
use weir_agent::inside;
use weir_common::address::OwnAddress;
use weir_common::claim::Claim;
use weir_common::flow::Flow;
use weir_common::names::map;
use weir_common::reason::Reason;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::netns::Netns;

/// A pod as the kernel side knows it.
pub struct Tally {
    pins: Pins,
    maps: Maps,
    netns: u64,
}

impl Tally {
    pub fn of(mesh: &Mesh, pod: &str) -> Self {
        Self::in_netns(mesh, &mesh.pod(pod).netns)
    }

    pub fn in_netns(mesh: &Mesh, netns: &Netns) -> Self {
        let pins = Pins::new(mesh.agent.pin_root());
        Self {
            maps: Maps::adopt(&pins),
            netns: cookie(netns.as_fd()),
            pins,
        }
    }

    /// How often something happened to the pod's connections.
    pub fn count(&self, reason: Reason) -> u64 {
        let counters = self.maps.counters().unwrap();
        let mine = counters.iter().filter_map(Result::ok);
        mine.filter(|(key, _)| key.netns == self.netns && key.reason == reason as u32)
            .map(|(_, counts)| counts.iter().sum::<u64>())
            .sum()
    }

    /// Waits until something has happened at least so often.
    pub fn wait(&self, reason: Reason, at_least: u64) {
        eventually(PATIENCE, || (self.count(reason) >= at_least).then_some(()))
            .unwrap_or_else(|late| panic!("{}: {late}; it is {}", reason.name(), self.count(reason)));
    }

    /// Whether the pod's connections are captured.
    pub fn is_captured(&self) -> bool {
        let pod = self.maps.pods().unwrap().get(&self.netns, 0);
        pod.is_ok_and(|pod| pod.entry.has(weir_common::pod::PodEntry::CAPTURING))
    }

    /// Everything that the maps hold for the pod, as words.
    pub fn entries(&self) -> Vec<String> {
        let (maps, netns) = (&self.maps, self.netns);
        let mut found = Vec::new();
        let pods = maps.pods().unwrap();
        found.extend(pods.get(&netns, 0).ok().map(|_| "pod".to_owned()));
        let own = maps.own_addresses().unwrap();
        let own = own.keys().filter_map(Result::ok).filter(|key| key.netns == netns);
        found.extend(own.map(|key| format!("own {}", IpAddr::from(key.address))));
        let by_address = maps.pods_by_address().unwrap();
        let holders = by_address.iter().filter_map(Result::ok);
        let mine = holders.filter(|(_, holder)| *holder == netns);
        found.extend(mine.map(|(address, _)| format!("holds {}", IpAddr::from(address))));
        let rules = maps.port_rules().unwrap();
        let rules = rules
            .keys()
            .filter_map(Result::ok)
            .filter(|key| key.netns == netns);
        found.extend(rules.map(|rule| format!("port rule {}", rule.port)));
        if self.pins.map(map::LOCAL_PODS).exists() {
            let local = maps.local_pods().unwrap();
            let local = local.iter().filter_map(Result::ok);
            let mine = local.filter(|(_, pod)| pod.netns == netns);
            found.extend(mine.map(|(address, _)| format!("local {}", std::net::IpAddr::from(address))));
            let interfaces = maps.host_interfaces().unwrap();
            let interfaces = interfaces.iter().filter_map(Result::ok);
            let mine = interfaces.filter(|(_, holder)| *holder == netns);
            found.extend(mine.map(|(index, _)| format!("leads here {index}")));
        }
        if self.pins.map(map::DETOURS).exists() {
            let detour = maps.detours().unwrap().get(&netns, 0);
            found.extend(detour.ok().map(|_| "detour".to_owned()));
        }
        let counters = maps.counters().unwrap();
        let counters = counters.keys().filter_map(Result::ok);
        let mine = counters.filter(|key| key.netns == netns);
        found.extend(mine.map(|key| format!("counter {}", key.reason)));
        let links = self.pins.pods().join(netns.to_string());
        found.extend(links.exists().then(|| "links".to_owned()));
        found
    }

    /// Lets a connection to the pod pass as if it were a probe, until a moment of the monotonic clock.
    pub fn let_pass(&self, (from, to): (SocketAddr, SocketAddr), expiry: u64) {
        let flow = Flow {
            netns: self.netns,
            source: from.ip().into(),
            destination: to.ip().into(),
            source_port: from.port(),
            destination_port: to.port(),
            reserved: 0,
        };
        self.maps.passes().unwrap().insert(flow, expiry, 0).unwrap();
    }

    /// Forgets that an address is the pod's.
    pub fn disown(&self, address: IpAddr) {
        let own = OwnAddress {
            netns: self.netns,
            address: address.into(),
        };
        self.maps.own_addresses().unwrap().remove(&own).unwrap();
        // Programs go by the map where no addresses are shown to them.
        let record = self.maps.pod(self.netns).unwrap().unwrap();
        self.maps.set_pod(self.netns, record.entry.into()).unwrap();
    }

    /// Forgets ztunnel's listeners in the pod.
    pub fn forget_listeners(&self) {
        let mut listeners = self.maps.listeners().unwrap();
        let known: Vec<_> = listeners.keys().filter_map(Result::ok).collect();
        for key in known.iter().filter(|key| key.netns == self.netns) {
            listeners.remove(key).unwrap();
        }
    }

    /// Connections that hold a client's port in any pod of the node.
    pub fn claims(&self) -> u64 {
        let map = Map::Array(MapData::from_pin(self.pins.map(map::CLAIMS)).unwrap());
        let claims: Array<_, Claim> = map.try_into().unwrap();
        claims.iter().map(|claim| u64::from(claim.unwrap().users)).sum()
    }
}

fn cookie(netns: BorrowedFd<'_>) -> u64 {
    inside::cookie(netns).unwrap()
}
