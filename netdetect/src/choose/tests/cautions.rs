//! What may get in the way of a path.

use super::{macvlan, plan, with, ztunnel};
use crate::choose::{Caution, ChoiceConfig, Contract, passed_by};
use crate::facts::{Attached, Clash, Direction, Family, Hook, Kind, MacvlanMode, Owner, Place, Rule};

#[test]
fn what_may_get_in_the_way_is_said() {
    let mut pod = with(Kind::Veth, Some(Place::Host));
    pod.interfaces[0].ipv6_disabled = Some(true);
    pod.interfaces[1].addresses = vec!["10.0.0.1/32".parse().unwrap(), "fe80::1/64".parse().unwrap()];
    assert_eq!(
        plan(&pod, Contract::InPod, &ChoiceConfig::default()).cautions,
        [],
        "link-local does not count"
    );
    pod.interfaces[1].addresses.push("fd00::1/128".parse().unwrap());
    let rule = Rule {
        family: Family::V4,
        preference: 15,
        mark: None,
        mask: None,
        source: Some("10.0.0.1/32".parse().unwrap()),
        destination: None,
        interface: None,
        table: 100,
    };
    pod.rules.push(rule.clone());
    let plan = plan(&pod, Contract::InPod, &ChoiceConfig::default());
    let clash = Clash::Preference;
    assert_eq!(
        plan.cautions,
        [Caution::Rule { rule, clash }, Caution::LoopbackWithoutIpv6]
    );
}

#[test]
fn programs_that_judge_what_a_pod_receives_are_told_of_where_it_is_redirected() {
    let pod = with(Kind::Veth, Some(Place::Host));
    let attached = |direction, interface, name: &str| Attached {
        interface,
        direction,
        hook: Hook::Tcx,
        order: 0,
        id: None,
        name: name.to_owned(),
        owner: Owner::of_name(name),
    };
    let programs = [
        attached(Direction::Egress, 7, "weir_pod_in"),
        attached(Direction::Ingress, 7, "cali_tc_from"),
        attached(Direction::Egress, 8, "cali_tc_other"),
        attached(Direction::Egress, 7, "cali_tc_to"),
    ];
    let told = |contract, config| {
        let plan = plan(&pod, contract, &config);
        passed_by(&plan, &pod, &programs)
    };
    assert_eq!(
        told(Contract::Node, ztunnel(true, &[])),
        [Caution::PassedBy {
            interface: "eth0".to_owned(),
            program: "cali_tc_to".to_owned(),
        }]
    );
    assert_eq!(told(Contract::InPod, ChoiceConfig::default()), []);
}

#[test]
fn what_ztunnel_answers_to_children_of_the_nodes_interface_needs_a_route() {
    let behind = |kind, contract, config| {
        let plan = plan(&with(kind, Some(Place::Host)), contract, &config);
        plan.cautions
            .iter()
            .any(|caution| matches!(caution, Caution::BehindParent { interface } if interface == "eth0"))
    };
    for mode in [MacvlanMode::Private, MacvlanMode::Vepa, MacvlanMode::Bridge] {
        assert!(
            behind(macvlan(mode), Contract::Node, ztunnel(true, &[])),
            "{mode:?}"
        );
        assert!(
            !behind(macvlan(mode), Contract::InPod, ChoiceConfig::default()),
            "{mode:?}"
        );
    }
    assert!(
        !behind(macvlan(MacvlanMode::Bridge), Contract::Node, ztunnel(false, &[7])),
        "beside it"
    );
    assert!(!behind(
        macvlan(MacvlanMode::Passthru),
        Contract::Node,
        ztunnel(true, &[])
    ));
    assert!(!behind(Kind::Veth, Contract::Node, ztunnel(true, &[])));
}
