//! Which plugin connected an interface of a pod, and how sure that is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Serialize, Serializer};

use super::{Cni, Configuration, Pattern, Signature, TABLE};
use crate::facts::{Interface, Kind, NodeFacts, Place, PodFacts};

/// Something that was found and speaks for a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clue {
    /// What was looked for.
    pub pattern: Pattern,
    /// What was found: a file, an interface, an address.
    pub found: String,
}

/// How sure it is that it was this plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Nothing speaks for any plugin.
    None,
    /// Others leave such traces as well.
    Weak,
    /// One thing that hardly anybody else does.
    Likely,
    /// The runtime is configured to call it, and the interfaces are as it makes them.
    Certain,
}

/// The plugin that connected an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The plugin.
    pub cni: Cni,
    /// How sure that is.
    pub confidence: Confidence,
    /// What speaks for it.
    pub clues: Vec<Clue>,
}

/// Says which plugin connected an interface of a pod.
#[must_use]
pub fn identify(
    pod: &PodFacts,
    interface: &Interface,
    node: &NodeFacts,
    configuration: Option<&Configuration>,
) -> Identity {
    let scene = Scene {
        pod,
        interface,
        peer: interface.host_peer().and_then(|index| node.interface(index)),
        node,
        configuration,
    };
    let mut best = Identity {
        cni: Cni::Unknown,
        confidence: Confidence::None,
        clues: Vec::new(),
    };
    let mut most = 0;
    for signature in &TABLE {
        let clues = scene.clues(signature);
        let weight: u32 = clues.iter().map(|clue| clue.pattern.weight()).sum();
        // Configuration alone tells nothing about this interface: the pod may have been made before it was changed.
        let is_seen = clues
            .iter()
            .any(|clue| !matches!(clue.pattern, Pattern::Plugin(_)))
            || signature
                .patterns
                .iter()
                .all(|pattern| matches!(pattern, Pattern::Plugin(_)));
        if is_seen && weight > most {
            most = weight;
            best = Identity {
                cni: signature.cni,
                confidence: confidence(&clues),
                clues,
            };
        }
    }
    best
}

fn confidence(clues: &[Clue]) -> Confidence {
    let configured = clues
        .iter()
        .any(|clue| matches!(clue.pattern, Pattern::Plugin(_)));
    let telling = clues
        .iter()
        .any(|clue| !matches!(clue.pattern, Pattern::Plugin(_)) && clue.pattern.weight() > 1);
    match (configured, telling) {
        (true, true) => Confidence::Certain,
        (true, false) | (false, true) => Confidence::Likely,
        (false, false) => Confidence::Weak,
    }
}

/// Everything that clues are looked for in.
struct Scene<'a> {
    pod: &'a PodFacts,
    interface: &'a Interface,
    peer: Option<&'a Interface>,
    node: &'a NodeFacts,
    configuration: Option<&'a Configuration>,
}

impl Scene<'_> {
    fn clues(&self, signature: &Signature) -> Vec<Clue> {
        if !signature.kinds.contains(&self.interface.kind.word()) {
            return Vec::new();
        }
        let found = |pattern: &Pattern| {
            self.find(*pattern).map(|found| Clue {
                pattern: *pattern,
                found,
            })
        };
        signature.patterns.iter().filter_map(found).collect()
    }

    fn find(&self, pattern: Pattern) -> Option<String> {
        match pattern {
            Pattern::Plugin(kind) => self.configured(kind),
            Pattern::Peer(prefix) => self.peer_named(prefix),
            Pattern::PeerElsewhere => self.elsewhere(),
            Pattern::PeerOnBridge(name) => self.bridge().filter(|bridge| bridge == name),
            Pattern::PeerOnAnyBridge => self.bridge(),
            Pattern::NodeInterface(prefix) => self
                .node
                .interfaces
                .iter()
                .find(|interface| interface.name.starts_with(prefix))
                .map(|interface| interface.name.clone()),
            Pattern::Kind(kind) => {
                (self.interface.kind.word() == kind).then(|| self.interface.kind.to_string())
            }
            Pattern::Gateway(gateway) => self.gateway(gateway),
            Pattern::RuleForPod(preference) => self.rule(preference),
            Pattern::RouteByPeer => self.route(),
        }
    }

    fn configured(&self, kind: &str) -> Option<String> {
        let network = self.configuration?.picked()?;
        let calls = network.all_plugins().any(|plugin| plugin.kind == kind);
        calls.then(|| network.path.display().to_string())
    }

    fn peer_named(&self, prefix: &str) -> Option<String> {
        let name = &self.peer?.name;
        name.starts_with(prefix).then(|| name.clone())
    }

    fn elsewhere(&self) -> Option<String> {
        let place = self.interface.far_end.as_ref()?.place;
        let is_away = matches!(place, Place::Known { .. } | Place::Elsewhere { .. });
        (self.interface.kind == Kind::Veth && is_away).then(|| place.to_string())
    }

    fn bridge(&self) -> Option<String> {
        let bridge = self.node.interface(self.peer?.controller?)?;
        Some(bridge.name.clone())
    }

    fn gateway(&self, gateway: Ipv4Addr) -> Option<String> {
        let mut routes = self.pod.routes.iter();
        routes
            .any(|route| {
                route.interface == Some(self.interface.index) && route.gateway == Some(IpAddr::V4(gateway))
            })
            .then(|| gateway.to_string())
    }

    fn rule(&self, preference: u32) -> Option<String> {
        let ours =
            |network: &Option<ipnetwork::IpNetwork>| network.is_some_and(|network| self.is_own(network));
        let mut rules = self.node.rules.iter();
        rules
            .find(|rule| rule.preference == preference && (ours(&rule.source) || ours(&rule.destination)))
            .map(|rule| format!("to table {}", rule.table))
    }

    fn route(&self) -> Option<String> {
        let peer = self.peer?;
        let mut routes = self.node.routes.iter();
        routes
            .find(|route| {
                route.interface == Some(peer.index)
                    && route.destination.is_some_and(|network| self.is_own(network))
            })
            .and_then(|route| route.destination)
            .map(|destination| destination.to_string())
    }

    /// Whether a network is one address, and that the interface's.
    fn is_own(&self, network: ipnetwork::IpNetwork) -> bool {
        let whole = if network.is_ipv4() { 32 } else { 128 };
        let mut addresses = self.interface.addresses.iter();
        network.prefix() == whole && addresses.any(|address| address.ip() == network.ip())
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Weak => "weak",
            Self::Likely => "likely",
            Self::Certain => "certain",
        })
    }
}

impl fmt::Display for Clue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pattern, self.found)
    }
}

impl Serialize for Clue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
