//! Other people's kernel settings, rules and routes: captured all the same, and theirs are left alone.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on says so by a panic; each uses its part of what tests share"
)]

#[path = "support/serve.rs"]
mod serve;
#[path = "support/tally.rs"]
mod tally;
#[path = "support/wire.rs"]
mod wire;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;

use futures::TryStreamExt as _;
use netlink_packet_route::route::{RouteScope, RouteType};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{IpVersion, RouteMessageBuilder};
use serve::serve;
use tally::Tally;
use weir_agent::enroll::requests::Making;
use weir_agent::enroll::{EnrollError, netlink};
use weir_common::mark::{RULE_PREFERENCE, TABLE};
use weir_common::reason::Reason;
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::mesh::{Builder, Mesh, PodLine};
use weir_testbeds::netns::Netns;
use weir_testbeds::route::Route;
use weir_testbeds::rule::Rule;
use weir_testbeds::traffic::{Client, ClientSpec, Exchange, ServerSpec};
use weir_testbeds::world::{Family, Pod, Wiring};
use wire::Wire;

const PORT: u16 = 8080;
/// Where source-based routing keeps its routes.
const THEIR_TABLE: u32 = 100;
const THEIR_PREFERENCE: u32 = 50;

fn mesh(name: &str) -> Builder {
    Mesh::builder(name)
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .enrolled("client")
        .enrolled("server")
}

fn set(netns: &Netns, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        netns.sysctl_set(key, value).unwrap();
    }
}

fn exchange(from: &Netns, at: &Netns, to: SocketAddr) -> Exchange {
    let _server = serve(at, &ServerSpec::new("server", to));
    Client::exchange(from, &ClientSpec::to(to)).unwrap()
}

/// In, out and through the tunnel, with the client's address kept and nothing in clear from where it should not be.
fn assert_captured(mesh: &Mesh) {
    let (client, server) = (mesh.pod("client"), mesh.pod("server"));
    let remote = &mesh.world.remote;
    let wire = Wire::of(client);
    let mut applications = Vec::new();
    for to in server.addresses().iter().chain(remote.addresses.iter()) {
        let host = if remote.addresses.iter().any(|own| own == to) {
            &remote.netns
        } else {
            &server.netns
        };
        let seen = exchange(&client.netns, host, SocketAddr::new(to, PORT));
        assert_eq!(seen.server.peer.ip(), client.address_like(to).unwrap());
        assert_ne!(
            seen.server.peer.port(),
            seen.local.port(),
            "not captured: {seen:?}"
        );
        applications.push(seen.local);
    }
    wire.carried_only(|segment| !applications.iter().any(|local| wire::with(segment, *local)));
    for to in server.addresses().iter() {
        let seen = exchange(&remote.netns, &server.netns, SocketAddr::new(to, PORT));
        assert_eq!(seen.server.peer.ip(), remote.address_like(to).unwrap());
        assert_ne!(
            seen.server.peer.port(),
            seen.local.port(),
            "not captured: {seen:?}"
        );
    }
}

fn assert_probes_pass(mesh: &Mesh) {
    let (node, server) = (&mesh.world.node, mesh.pod("server"));
    let tally = Tally::of(mesh, "server");
    for to in server.addresses().iter() {
        let before = tally.count(Reason::Probe);
        let seen = exchange(&node.netns, &server.netns, SocketAddr::new(to, PORT));
        assert_eq!(seen.server.peer, seen.local, "the probe was captured");
        assert!(tally.count(Reason::Probe) > before);
    }
}

#[test]
fn syn_cookies() {
    let mesh = mesh("cookies").start().unwrap();
    for pod in ["client", "server"] {
        set(&mesh.pod(pod).netns, &[("net.ipv4.tcp_syncookies", "2")]);
    }
    for _ in 0..3 {
        assert_captured(&mesh);
        assert_probes_pass(&mesh);
    }
}

#[test]
fn strict_source_validation() {
    let mesh = mesh("strict").start().unwrap();
    for netns in [
        &mesh.world.node.netns,
        &mesh.pod("client").netns,
        &mesh.pod("server").netns,
    ] {
        for interface in ["all", "default", "eth0", "lo"] {
            let key = |name: &str| format!("net.ipv4.conf.{interface}.{name}");
            set(netns, &[(&key("rp_filter"), "1"), (&key("src_valid_mark"), "1")]);
        }
    }
    assert_captured(&mesh);
    assert_probes_pass(&mesh);
}

fn rules(netns: &Netns) -> Vec<RuleMessage> {
    let list = async |handle: &rtnetlink::Handle| {
        let mut all = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let rules: Result<Vec<_>, _> = handle.rule().get(version).execute().try_collect().await;
            all.extend(rules.unwrap());
        }
        Ok::<_, EnrollError>(all)
    };
    netlink::run(netns.as_fd(), list).unwrap()
}

/// As the SBR plugin does: what comes from the pod's address has a table of its own, with a way out.
fn add_source_based_routing(pod: &Pod) {
    pod.netns
        .netlink(async |netlink| {
            for address in pod.addresses().iter() {
                let rule = match address {
                    IpAddr::V4(_) => Rule::v4(THEIR_PREFERENCE, THEIR_TABLE),
                    IpAddr::V6(_) => Rule::v6(THEIR_PREFERENCE, THEIR_TABLE),
                };
                netlink.add_rule(&rule.from(address.into())).await?;
                netlink.add_route(&their_route(address)).await?;
            }
            Ok(())
        })
        .unwrap();
}

/// By the gateway that point-to-point pods have.
fn their_route(like: IpAddr) -> Route {
    let gateway = match like {
        IpAddr::V4(_) => "169.254.1.1",
        IpAddr::V6(_) => "fe80::ecee:eeff:feee:eeee",
    };
    Route::default_via(gateway.parse().unwrap())
        .dev("eth0")
        .onlink()
        .table(THEIR_TABLE)
}

#[test]
fn source_based_routing_is_no_way_out_and_stays_as_it_was() {
    let mut mesh = mesh("source-based").start().unwrap();
    change(&mut mesh, "client", false);
    add_source_based_routing(mesh.pod("client"));
    let theirs = rules(&mesh.pod("client").netns);
    change(&mut mesh, "client", true);
    assert_captured(&mesh);
    assert!(rules(&mesh.pod("client").netns).len() > theirs.len());
    change(&mut mesh, "client", false);
    assert_eq!(rules(&mesh.pod("client").netns), theirs);
    for address in mesh.pod("client").addresses().iter() {
        let route = their_route(address);
        let again = mesh
            .pod("client")
            .netns
            .netlink(async |netlink| netlink.add_route(&route).await);
        assert!(again.is_err(), "their route is gone");
    }
}

/// Puts a pod in or out by what the kernel side knows of it.
fn change(mesh: &mut Mesh, pod: &str, enrolled: bool) {
    mesh.change(pod, |line| if enrolled { line.enrol() } else { line.leave() })
        .unwrap();
    let tally = Tally::of(mesh, pod);
    if enrolled {
        eventually(PATIENCE, || tally.is_captured().then_some(())).unwrap();
    } else {
        wait_gone(&tally);
        wait_without_rules(&mesh.pod(pod).netns);
    }
}

/// The entries go first, the rules after them.
fn wait_without_rules(netns: &Netns) {
    let ours = |rule: &RuleMessage| rule.attributes.contains(&RuleAttribute::Table(TABLE));
    eventually(PATIENCE, || (!rules(netns).iter().any(ours)).then_some(())).unwrap();
}

fn wait_gone(tally: &Tally) {
    eventually(PATIENCE, || tally.entries().is_empty().then_some(()))
        .unwrap_or_else(|late| panic!("{late}: {:?}", tally.entries()));
}

#[test]
fn a_rule_of_somebody_elses_at_our_preference_is_reported_and_respected() {
    let mut mesh = mesh("rule-taken").start().unwrap();
    change(&mut mesh, "client", false);
    let netns = mesh.pod("client").netns.clone();
    let taken = Rule::v4(RULE_PREFERENCE, 77).mark(0x0100_0000, 0x0100_0000);
    netns
        .netlink(async |netlink| netlink.add_rule(&taken).await)
        .unwrap();
    let theirs = rules(&netns);
    mesh.change("client", PodLine::enrol).unwrap();
    let wanted = format!("preference {RULE_PREFERENCE} that is not ours; remove it");
    eventually(PATIENCE, || mesh.agent.output().contains(&wanted).then_some(()))
        .unwrap_or_else(|late| panic!("{late}: {}", mesh.agent.output()));
    // It is tried again and again: what is half done is undone each time.
    let tally = Tally::of(&mesh, "client");
    eventually(PATIENCE, || {
        (tally.entries().is_empty() && rules(&netns) == theirs).then_some(())
    })
    .unwrap();
    let to = SocketAddr::new(mesh.world.remote.addresses.first().unwrap(), PORT);
    let seen = exchange(&netns, &mesh.world.remote.netns, to);
    assert_eq!(
        seen.server.peer, seen.local,
        "a pod that is not enrolled is not captured"
    );
    remove_rule(&netns, RULE_PREFERENCE);
    eventually(PATIENCE * 2, || tally.is_captured().then_some(())).unwrap();
    let seen = exchange(&netns, &mesh.world.remote.netns, to);
    assert_ne!(seen.server.peer, seen.local);
}

fn remove_rule(netns: &Netns, preference: u32) {
    let attributes = |rule: &RuleMessage| {
        rule.attributes.contains(&RuleAttribute::Priority(preference))
            && !rule.attributes.contains(&RuleAttribute::Table(TABLE))
    };
    let rule = rules(netns).into_iter().find(attributes).unwrap();
    netlink::run(netns.as_fd(), async |handle| {
        handle.rule().del(rule).execute().await.unwrap();
        Ok(())
    })
    .unwrap();
}

#[test]
fn rules_of_an_earlier_weir_stay_beside_ours_and_go_with_them() {
    let mut mesh = mesh("rules-before").start().unwrap();
    change(&mut mesh, "client", false);
    let netns = mesh.pod("client").netns.clone();
    let before = rules(&netns);
    for earlier in [
        Rule::v4(RULE_PREFERENCE, TABLE).mark(0x222, 0xfff),
        Rule::v4(RULE_PREFERENCE + 1, TABLE).mark(0x111, 0xfff),
    ] {
        netns
            .netlink(async |netlink| netlink.add_rule(&earlier).await)
            .unwrap();
    }
    let earlier = rules(&netns);
    change(&mut mesh, "client", true);
    let now = rules(&netns);
    assert!(earlier.iter().all(|rule| now.contains(rule)));
    let remote = &mesh.world.remote;
    let out = exchange(
        &netns,
        &remote.netns,
        SocketAddr::new(remote.addresses.first().unwrap(), PORT),
    );
    assert_ne!(out.server.peer, out.local);
    // By the mark that the earlier rules are not for.
    let own = mesh.pod("client").addresses().first().unwrap();
    exchange(&remote.netns, &netns, SocketAddr::new(own, PORT));
    change(&mut mesh, "client", false);
    assert_eq!(rules(&netns), before);
}

#[test]
fn one_of_many_requests_that_is_refused_is_told_of_and_the_others_are_carried_out() {
    let netns = Netns::new().unwrap();
    let wanted = |interface| {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .table_id(TABLE)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .output_interface(interface)
            .build();
        let mut rule = RuleMessage::default();
        rule.header.family = AddressFamily::Inet;
        rule.header.action = RuleAction::ToTable;
        rule.attributes = vec![RuleAttribute::Table(TABLE), RuleAttribute::FwMark(interface)];
        let making = |message, step| Making {
            message,
            replaces: false,
            step,
            fine: &[],
        };
        vec![
            making(RouteNetlinkMessage::NewRoute(route), "add a route"),
            making(RouteNetlinkMessage::NewRule(rule), "add a rule"),
        ]
    };
    let make = |wanted| netlink::ask(netns.as_fd(), |requests| requests.make(wanted));
    let refused_at = |refused| match refused {
        Err(EnrollError::Refused { step, .. }) => Some(step),
        _ => None,
    };
    let has_rule = |mark| {
        let mark = RuleAttribute::FwMark(mark);
        rules(&netns).iter().any(|rule| rule.attributes.contains(&mark))
    };
    // There is no such interface.
    assert_eq!(refused_at(make(wanted(99))), Some("add a route"));
    assert!(has_rule(99));
    make(wanted(1)).unwrap();
    assert!(has_rule(1));
    assert_eq!(refused_at(make(wanted(1))), Some("add a route"));
}
