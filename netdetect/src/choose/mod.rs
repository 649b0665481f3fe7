//! The choice of a path: the one place where it is decided how a pod's connections get to ztunnel.

mod config;
mod plan;
#[cfg(test)]
mod tests;
mod why;

pub use config::{ChoiceConfig, Contract, MacvlanOutbound, Ztunnel};
pub use plan::{InterfacePlan, Leg, Path, Plan, Role};
pub use why::{Caution, Remedy, Why};

use crate::facts::{
    Attached, Direction, Interface, KernelFacts, KernelVersion, Kind, MacvlanMode, NetkitMode, Owner, Place,
    PodFacts,
};
use crate::facts::{PACKETS, SOCKETS};

/// Says on which path a pod's connections get to ztunnel, and why. The same facts give the same plan, and what is not
/// known gives [`Path::Unknown`] rather than a guess.
#[must_use]
pub fn choose(pod: &PodFacts, contract: Contract, kernel: &KernelFacts, config: &ChoiceConfig) -> Plan {
    if pod.is_host {
        return nothing(contract, Why::HostNetwork, Remedy::OwnNetwork);
    }
    let mut chooser = Chooser {
        contract,
        kernel: *kernel,
        config,
        redirected: false,
    };
    chooser.redirected = contract == Contract::Node
        && chooser
            .interfaces(pod)
            .iter()
            .any(|plan| plan.outbound.path == Path::Tc);
    let interfaces = chooser.interfaces(pod);
    let outward = |plan: &&InterfacePlan| plan.role == Role::Outward;
    let by_route = pod.primary().map(|interface| interface.index);
    let primary = interfaces
        .iter()
        .filter(outward)
        .find(|plan| Some(plan.index) == by_route)
        .or_else(|| interfaces.iter().find(outward));
    let Some(primary) = primary else {
        return nothing(contract, Why::NoNetwork, Remedy::Interface);
    };
    Plan {
        contract,
        primary: Some(primary.index),
        outbound: primary.outbound.clone(),
        inbound: primary.inbound.clone(),
        cautions: cautions(pod, contract, primary, &interfaces),
        interfaces,
    }
}

fn nothing(contract: Contract, why: Why, remedy: Remedy) -> Plan {
    let leg = Leg::with(Path::NotCaptured, why, remedy);
    Plan {
        contract,
        primary: None,
        outbound: leg.clone(),
        inbound: leg,
        interfaces: Vec::new(),
        cautions: Vec::new(),
    }
}

/// What one interface's plan depends on besides the interface.
struct Chooser<'a> {
    contract: Contract,
    kernel: KernelFacts,
    config: &'a ChoiceConfig,
    /// Packets of the pod are redirected on the node, so its connections are not made to ztunnel in the first place:
    /// a socket is connected before it is known by which interface its packets go.
    redirected: bool,
}

impl Chooser<'_> {
    fn interfaces(&self, pod: &PodFacts) -> Vec<InterfacePlan> {
        let planned = pod.interfaces.iter();
        planned
            .filter_map(|interface| self.interface(interface))
            .collect()
    }

    fn interface(&self, interface: &Interface) -> Option<InterfacePlan> {
        let is_virtual = self.config.virtual_interfaces.contains(&interface.name);
        let (role, (outbound, inbound)) = match self.contract {
            Contract::InPod if is_virtual => (Role::Virtual, self.virtual_machines()),
            _ if !interface.leads_out() => return None,
            Contract::InPod => (Role::Outward, self.in_pod(interface)),
            Contract::Node => (Role::Outward, self.node(interface)),
        };
        Some(InterfacePlan {
            index: interface.index,
            name: interface.name.clone(),
            kind: interface.kind.clone(),
            role,
            outbound,
            inbound,
        })
    }

    fn virtual_machines(&self) -> (Leg, Leg) {
        let outbound = self.on_kernels(
            self.kernel.sockets,
            SOCKETS,
            Leg::new(Path::Tc, Why::VirtualMachines),
        );
        (outbound, Leg::new(Path::NotApplicable, Why::DialledElsewhere))
    }

    fn in_pod(&self, interface: &Interface) -> (Leg, Leg) {
        if matches!(interface.kind, Kind::Macvtap { .. }) {
            return both(Leg::with(
                Path::NotCaptured,
                Why::PastSockets,
                Remedy::OtherBinding,
            ));
        }
        let leg = Leg::new(Path::Socket, Why::ZtunnelInPod);
        both(self.on_kernels(self.kernel.sockets, SOCKETS, leg))
    }

    fn node(&self, interface: &Interface) -> (Leg, Leg) {
        let far = interface.far_end.as_ref().map(|end| end.place);
        match (&interface.kind, far) {
            (
                Kind::Netkit {
                    mode: NetkitMode::Unknown,
                },
                _,
            ) => unknown(interface),
            (Kind::Veth | Kind::Netkit { .. }, Some(Place::Host)) => both(self.by_peer()),
            (Kind::Veth | Kind::Netkit { .. }, Some(_)) => {
                self.without_peer(interface, Remedy::InPodContract)
            }
            (
                Kind::Macvlan {
                    mode: MacvlanMode::Bridge,
                },
                Some(Place::Host),
            ) => self.macvlan(interface),
            (
                Kind::Macvlan {
                    mode:
                        MacvlanMode::Vepa | MacvlanMode::Private | MacvlanMode::Passthru | MacvlanMode::Source,
                },
                _,
            ) => self.without_peer(interface, Remedy::BridgeMode),
            (Kind::Ipvlan { .. } | Kind::Vlan { .. } | Kind::Physical { .. }, _) => {
                self.without_peer(interface, Remedy::InPodContract)
            }
            (Kind::Macvtap { .. }, _) => both(Leg::with(
                Path::NotCaptured,
                Why::PastSockets,
                Remedy::OtherBinding,
            )),
            // A veth without a peer, a macvlan of an unknown mode or parent, tunnels, and what has no name yet.
            _ => unknown(interface),
        }
    }

    /// At the peer on the node, from where packets are handed to ztunnel's.
    fn by_peer(&self) -> Leg {
        let leg = match &self.config.ztunnel {
            Some(ztunnel) if ztunnel.has_host_peer => Leg::new(Path::Tc, Why::HostPeer),
            Some(_) => Leg::with(Path::NotCaptured, Why::ZtunnelWithoutPeer, Remedy::ZtunnelPeer),
            None => Leg::with(Path::Tc, Why::HostPeer, Remedy::ZtunnelPeer),
        };
        self.on_kernels(self.kernel.packets, PACKETS, leg)
    }

    fn macvlan(&self, interface: &Interface) -> (Leg, Leg) {
        let same_parent = self.config.ztunnel.as_ref().map(|ztunnel| {
            let parent = interface.host_parent();
            parent.is_some_and(|parent| ztunnel.macvlan_parents.contains(&parent))
        });
        // Where ztunnel is not known to be, the plan says where it has to be.
        let remedy = same_parent.is_none().then_some(Remedy::ZtunnelOnParent);
        let leg = |path, why| Leg {
            path,
            why,
            remedy: remedy.clone(),
        };
        if same_parent == Some(false) {
            return (
                self.by_socket(Leg::with(
                    Path::Socket,
                    Why::OtherParent,
                    Remedy::ZtunnelReachable,
                )),
                Leg::with(Path::NotCaptured, Why::OtherParent, Remedy::ZtunnelOnParent),
            );
        }
        let outbound = match self.config.macvlan_outbound {
            MacvlanOutbound::Socket if !self.redirected => {
                self.by_socket(leg(Path::Socket, Why::SameParentSocket))
            }
            _ => self.by_frame(leg(Path::Steer, Why::SameParentSteer)),
        };
        (outbound, self.by_frame(leg(Path::Steer, Why::SameParentSteer)))
    }

    /// Nothing on the node sees the packets.
    fn without_peer(&self, interface: &Interface, remedy: Remedy) -> (Leg, Leg) {
        let kind = interface.kind.clone();
        let outbound = Leg::with(
            Path::Socket,
            Why::NoHostPeerOutbound { kind: kind.clone() },
            Remedy::ZtunnelReachable,
        );
        (
            self.by_socket(outbound),
            Leg::with(Path::NotCaptured, Why::NoHostPeerInbound { kind }, remedy),
        )
    }

    fn by_socket(&self, leg: Leg) -> Leg {
        if self.redirected {
            return Leg::with(Path::NotCaptured, Why::RedirectedElsewhere, Remedy::InPodContract);
        }
        self.on_kernels(self.kernel.sockets, SOCKETS, leg)
    }

    fn by_frame(&self, leg: Leg) -> Leg {
        self.on_kernels(self.kernel.packets, PACKETS, leg)
    }

    fn on_kernels(&self, can: bool, needs: KernelVersion, leg: Leg) -> Leg {
        if can || !leg.path.captures() {
            return leg;
        }
        let has = self.kernel.version;
        Leg::with(
            Path::NotCaptured,
            Why::KernelTooOld { has, needs },
            Remedy::NewerKernel { needs },
        )
    }
}

fn both(leg: Leg) -> (Leg, Leg) {
    (leg.clone(), leg)
}

fn unknown(interface: &Interface) -> (Leg, Leg) {
    let kind = interface.kind.clone();
    both(Leg::with(
        Path::Unknown,
        Why::UnknownWiring { kind },
        Remedy::Report,
    ))
}

/// Programs of others, among those on the node, that a plan leads what a pod receives past.
#[must_use]
pub fn passed_by(plan: &Plan, pod: &PodFacts, programs: &[Attached]) -> Vec<Caution> {
    let redirected = |interface: &&Interface| {
        let plan = plan.interfaces.iter().find(|plan| plan.index == interface.index);
        plan.is_some_and(|plan| plan.role == Role::Outward && plan.inbound.path == Path::Tc)
    };
    let mut cautions = Vec::new();
    for interface in pod.interfaces.iter().filter(redirected) {
        let judges = |attached: &&Attached| {
            interface.host_peer() == Some(attached.interface)
                && attached.direction == Direction::Egress
                && attached.owner != Owner::Weir
        };
        cautions.extend(programs.iter().filter(judges).map(|attached| Caution::PassedBy {
            interface: interface.name.clone(),
            program: attached.name.clone(),
        }));
    }
    cautions
}

fn cautions(
    pod: &PodFacts,
    contract: Contract,
    primary: &InterfacePlan,
    interfaces: &[InterfacePlan],
) -> Vec<Caution> {
    let rules = pod.clashes().map(|(rule, clash)| Caution::Rule {
        rule: rule.clone(),
        clash,
    });
    let ipv6 = (contract == Contract::InPod && pod.has_ipv6() && pod.loopback_without_ipv6())
        .then_some(Caution::LoopbackWithoutIpv6);
    let paths = |plan: &InterfacePlan| (plan.outbound.path, plan.inbound.path);
    let divided = interfaces
        .iter()
        .filter(|plan| plan.role == Role::Outward && paths(plan) != paths(primary))
        .map(|plan| Caution::Divided {
            interface: plan.name.clone(),
        });
    let behind_parent = pod
        .interfaces
        .iter()
        .filter(|interface| contract == Contract::Node && is_behind_parent(interface, interfaces))
        .map(|interface| Caution::BehindParent {
            interface: interface.name.clone(),
        });
    rules.chain(ipv6).chain(divided).chain(behind_parent).collect()
}

/// Whether what a ztunnel elsewhere answers has to get to it from a parent that does not reach its children.
fn is_behind_parent(interface: &Interface, plans: &[InterfacePlan]) -> bool {
    let is_child = match &interface.kind {
        Kind::Macvlan { mode } => *mode != MacvlanMode::Passthru,
        Kind::Ipvlan { .. } => true,
        _ => false,
    };
    let plan = plans.iter().find(|plan| plan.index == interface.index);
    let made_elsewhere = |outbound: &Leg| {
        outbound.path == Path::Socket
            && matches!(outbound.why, Why::OtherParent | Why::NoHostPeerOutbound { .. })
    };
    is_child && interface.host_parent().is_some() && plan.is_some_and(|plan| made_elsewhere(&plan.outbound))
}
