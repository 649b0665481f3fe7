//! What the kernel says of interfaces, routes, rules and filters.

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use weir_netdetect::choose::{ChoiceConfig, Contract, choose};
use weir_netdetect::facts::{
    DefaultRoutes, Direction, Interface, KernelFacts, KernelVersion, NetnsId, PodFacts, Route, Rule,
};
use weir_netdetect::read::{filter_of, interface_of, route_of, rule_of};

/// A message; what it says, if it can be read at all, goes through the choice as well.
pub fn netlink(input: &[u8]) {
    let mut input = input.to_vec();
    // The length in the header is what the kernel's own framing has checked.
    let Ok(whole) = u32::try_from(input.len()) else {
        return;
    };
    if let Some(length) = input.first_chunk_mut::<4>() {
        *length = whole.to_ne_bytes();
    }
    let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&input) else {
        return;
    };
    let NetlinkPayload::InnerMessage(message) = message.payload else {
        return;
    };
    match message {
        RouteNetlinkMessage::NewLink(link) => plan(Some(interface_of(&link)), None, None),
        RouteNetlinkMessage::NewRoute(route) => plan(None, route_of(&route), None),
        RouteNetlinkMessage::NewRule(rule) => plan(None, None, rule_of(&rule)),
        RouteNetlinkMessage::NewQueueDiscipline(qdisc) => drop(filter_of(&qdisc, Direction::Ingress)),
        _ => {}
    }
}

fn plan(interface: Option<Interface>, route: Option<Route>, rule: Option<Rule>) {
    let routes = Vec::from_iter(route);
    let facts = PodFacts {
        netns: NetnsId { inode: 1, device: 1 },
        is_host: false,
        interfaces: Vec::from_iter(interface),
        default_routes: DefaultRoutes::among(&routes),
        routes,
        rules: Vec::from_iter(rule),
    };
    let kernel = KernelFacts::of_version(KernelVersion::new(6, 12));
    for contract in [Contract::InPod, Contract::Node] {
        let plan = choose(&facts, contract, &kernel, &ChoiceConfig::default());
        assert!(!plan.outbound.why.to_string().is_empty());
        assert!(
            plan.cautions
                .iter()
                .all(|caution| !caution.to_string().is_empty())
        );
    }
}
