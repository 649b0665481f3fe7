//! Namespaces that are shared, missing or nested, and annotations that change.

use std::fs;
use std::os::unix::fs::symlink;

use ipnetwork::IpNetwork;
use weir_common::reason::Reason;
use weir_testbeds::capture::Capture;
use weir_testbeds::deadline::eventually;
use weir_testbeds::link::Device;
use weir_testbeds::mesh::{Mesh, PodLine};
use weir_testbeds::netns::Netns;
use weir_testbeds::proxy::Member;
use weir_testbeds::route::Route;
use weir_testbeds::traffic::{Client, Server, ServerSpec};
use weir_testbeds::world::{Family, Wiring, World};

use crate::addresses::{network, owns, route_to, start};
use crate::support::{self, PATIENCE, PORT, counted, exchange, go_on, load, maps, open, serve, spec, wait};

#[test]
fn pods_with_the_same_addresses_are_told_apart() {
    let mut mesh = start("twins");
    let twins = World::builder("twins")
        .wiring(Wiring::PointToPoint)
        .family(Family::Dual)
        .pods(["client-twin", "server-twin"])
        .build()
        .unwrap();
    let members: Vec<Member> = mesh
        .world
        .pods()
        .iter()
        .chain(twins.pods())
        .map(Member::of)
        .collect();
    mesh.proxy.set_members(members).unwrap();
    for pod in twins.pods() {
        mesh.list_pod(pod).unwrap();
    }
    mesh.settled().unwrap();
    for to in mesh.pod("server").addresses().iter() {
        assert_eq!(twins.pod("server-twin").address_like(to), Some(to));
        let _one = serve(&mesh, "server", to);
        let other = ServerSpec::new("twin", std::net::SocketAddr::new(to, PORT));
        let _other = Server::start(&twins.pod("server-twin").netns, &other).unwrap();
        let clients = [
            (&mesh.pod("client").netns, "server"),
            (&twins.pod("client-twin").netns, "twin"),
            (&mesh.world.remote.netns, "server"),
            (&twins.remote.netns, "twin"),
        ];
        for (client, server) in clients {
            let seen = exchange(client, to);
            assert_eq!(seen.server.server, server);
            assert!(seen.was_captured(), "{seen:?}");
        }
    }
}

#[test]
fn a_pod_that_takes_over_a_namespace_of_another_stays_captured() {
    let mut mesh = start("takeover-uid");
    let to: Vec<_> = mesh.pod("server").addresses().iter().collect();
    let _servers: Vec<_> = to.iter().map(|to| serve(&mesh, "server", *to)).collect();
    for round in 0..3 {
        mesh.change("client", |line| {
            line.uid = format!("{}-{round}", line.uid.split('_').next().unwrap());
        })
        .unwrap();
        let uids = format!("-{round} ");
        wait("the new uid is enrolled", || {
            let log = mesh.agent.output();
            log.lines()
                .any(|line| line.contains(" enrolled pod=default/client ") && line.contains(&uids))
        });
        for &to in &to {
            let seen = exchange(&mesh.pod("client").netns, to);
            assert!(seen.was_captured(), "{seen:?}");
        }
    }
    let pods: Vec<u64> = maps(&mesh).pods().unwrap().keys().flatten().collect();
    assert_eq!(pods.len(), 2);
}

/// Which a file of pods can say by mistake: who stays is captured all the same.
#[test]
fn of_two_pods_in_a_namespace_one_leaves() {
    let mut mesh = Mesh::builder("two-in-one")
        .wiring(Wiring::PointToPoint)
        .enrolled("client")
        .enrolled("server")
        .flag("--verify-interval=1h")
        .start()
        .unwrap();
    let client = mesh.pod("client").netns.clone();
    let to = mesh.pod("server").address();
    let _server = serve(&mesh, "server", to);
    let on_wire = Capture::start(&client, "eth0").unwrap();
    let leaving: [fn(&mut Mesh); 2] = [
        |mesh| mesh.change("twin", PodLine::leave).unwrap(),
        |mesh| mesh.unlist("twin").unwrap(),
    ];
    for (round, leave) in leaving.into_iter().enumerate() {
        let mut twin = PodLine::in_netns("twin", &format!("twin-{round}"), &client);
        twin.enrol();
        mesh.add([twin]).unwrap();
        mesh.wait_state("twin", "enrolled").unwrap();
        let load = load([(client.clone(), to)]);
        go_on(&load, 10);
        leave(&mut mesh);
        wait("the twin has left", || {
            mesh.agent.state_of("twin").is_none_or(|state| state == "left")
        });
        go_on(&load, 10);
        drop(load);
        mesh.unlist("twin").unwrap();
        wait("the twin is gone", || mesh.agent.state_of("twin").is_none());
        assert!(exchange(&client, to).was_captured());
    }
    for syn in on_wire.tcp_syns() {
        assert_eq!(syn.destination.port(), 15008, "left the pod in clear: {syn:?}");
    }
}

#[test]
fn a_pod_without_a_usable_namespace_is_tried_until_it_has_one() {
    let mut mesh = Mesh::builder("no-netns")
        .enrolled("client")
        .enrolled("server")
        .outside("late")
        .start()
        .unwrap();
    let real = mesh.pod("late").netns.path();
    let path = std::env::temp_dir().join(weir_testbeds::unique::name("late-netns"));
    let host = mesh.world.node.netns.path();
    for (given, reason) in [
        ("/proc/version".into(), "is not a network namespace"),
        (host, "is the node's own network namespace"),
        (path.clone(), "does not exist"),
    ] {
        mesh.change("late", |line| {
            line.enrol();
            line.netns = given.display().to_string();
        })
        .unwrap();
        let told = || {
            mesh.agent.output().lines().any(|line| {
                line.contains("not enrolled; trying again pod=default/late") && line.contains(reason)
            })
        };
        wait(reason, told);
    }
    symlink(&real, &path).unwrap();
    let enrolled = eventually(PATIENCE, || {
        (mesh.agent.state_of("late")? == "enrolled").then_some(())
    });
    fs::remove_file(&path).unwrap();
    enrolled.unwrap();
    let to = mesh.pod("server").address();
    let _server = serve(&mesh, "server", to);
    let seen = exchange(&mesh.pod("late").netns, to);
    assert!(seen.was_captured(), "{seen:?}");
}

#[test]
fn a_pod_whose_namespace_is_deleted_stays_captured_and_follows_to_the_next() {
    let mut mesh = Mesh::builder("replaced-netns")
        .enrolled("server")
        .outside("late")
        .outside("next")
        .start()
        .unwrap();
    let path = std::env::temp_dir().join(weir_testbeds::unique::name("replaced-netns"));
    let lead_to = |mesh: &Mesh, pod: &str| symlink(mesh.pod(pod).netns.path(), &path).unwrap();
    lead_to(&mesh, "late");
    mesh.change("late", |line| {
        line.enrol();
        line.netns = path.display().to_string();
    })
    .unwrap();
    mesh.wait_state("late", "enrolled").unwrap();
    fs::remove_file(&path).unwrap();
    mesh.change("late", |line| line.annotate("round", "2")).unwrap();
    mesh.wait_state("late", "failed").unwrap();
    let to = mesh.pod("server").address();
    let _server = serve(&mesh, "server", to);
    let seen = exchange(&mesh.pod("late").netns, to);
    assert!(seen.was_captured(), "{seen:?}");
    lead_to(&mesh, "next");
    let enrolled = mesh.wait_state("late", "enrolled");
    fs::remove_file(&path).unwrap();
    enrolled.unwrap();
    let pods: Vec<u64> = maps(&mesh).pods().unwrap().keys().flatten().collect();
    assert!(!pods.contains(&support::cookie(&mesh.pod("late").netns)));
    assert!(pods.contains(&support::cookie(&mesh.pod("next").netns)));
    let seen = exchange(&mesh.pod("next").netns, to);
    assert!(seen.was_captured(), "{seen:?}");
}

#[test]
fn annotations_that_change_leave_open_connections_alone() {
    const PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
    let mut mesh = start("annotations");
    let client = mesh.pod("client").netns.clone();
    let to: Vec<_> = mesh.world.remote.addresses.iter().collect();
    let remote = mesh.world.remote.netns.clone();
    let _servers: Vec<_> = to
        .iter()
        .map(|to| {
            let spec = ServerSpec::new("remote", std::net::SocketAddr::new(*to, PORT));
            Server::start(&remote, &spec).unwrap()
        })
        .collect();
    let mut held: Vec<_> = to.iter().map(|to| open(&client, *to)).collect();
    assert!(held.iter().all(|held| held.report().was_captured()));
    let captured = |mesh: &Mesh, expected: bool| {
        for &to in &to {
            wait("new connections follow the annotation", || {
                exchange(&mesh.pod("client").netns, to).was_captured() == expected
            });
        }
    };
    mesh.change("client", |line| line.annotate(PORTS, "8080"))
        .unwrap();
    captured(&mesh, false);
    held.extend(to.iter().map(|to| open(&client, *to)));
    mesh.change("client", |line| line.annotate(PORTS, "8080,nonsense"))
        .unwrap();
    wait("the mistake is reported", || {
        mesh.agent.output().contains("nonsense")
    });
    assert_eq!(mesh.agent.state_of("client").as_deref(), Some("enrolled"));
    mesh.change("client", |line| line.forget(PORTS)).unwrap();
    captured(&mesh, true);
    for held in &mut held {
        held.exchange(b"still here").unwrap();
    }
}

#[test]
fn a_namespace_nested_in_a_pod_is_left_alone() {
    let mesh = start("nested");
    let pod = mesh.pod("server").netns.clone();
    let inner = Netns::new().unwrap();
    for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
        pod.sysctl_set(key, "1").unwrap();
    }
    pod.netlink(async |netlink| {
        netlink
            .add_veth(&Device::named("inner0"), &Device::named("eth0"), &inner)
            .await
    })
    .unwrap();
    inner.netlink(async |netlink| netlink.up("eth0").await).unwrap();
    for (outer, own) in [
        ("10.99.1.1/30", "10.99.1.2/30"),
        ("fd00:99:1::1/64", "fd00:99:1::2/64"),
    ] {
        let (outer, own) = (network(outer), network(own));
        pod.netlink(async |netlink| netlink.add_address("inner0", outer).await)
            .unwrap();
        inner
            .netlink(async |netlink| {
                netlink.add_address("eth0", own).await?;
                netlink.add_route(&Route::default_via(outer.ip())).await
            })
            .unwrap();
        route_to(&mesh, "server", IpNetwork::from(own.ip()));
        wait("the pod has its new address", || {
            owns(&mesh, "server", outer.ip())
        });
        let remote = &mesh.world.remote;
        let out = std::net::SocketAddr::new(remote.address_like(own.ip()).unwrap(), PORT);
        let _remote = Server::start(&remote.netns, &ServerSpec::new("remote", out)).unwrap();
        let inside = std::net::SocketAddr::new(own.ip(), PORT);
        let _inner = Server::start(&inner, &ServerSpec::new("inner", inside)).unwrap();
        wait("the guard sees it leave", || {
            let unseen = counted(&mesh, &pod, Reason::Leaked);
            let sent = Client::exchange(&inner, &spec(out.ip())).unwrap();
            assert_eq!(sent.server.peer, sent.local, "{sent:?}");
            counted(&mesh, &pod, Reason::Leaked) == unseen + 1
        });
        let received = Client::exchange(&remote.netns, &spec(own.ip())).unwrap();
        assert_eq!(received.server.peer, received.local, "{received:?}");
    }
}
