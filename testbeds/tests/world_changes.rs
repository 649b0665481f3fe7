//! What a world's pods look like, and pods that come, change and go.

use std::net::SocketAddr;
use std::time::Duration;

use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec};
use weir_testbeds::world::{Error, Family, Wiring, World};

#[test]
fn pods_of_different_wirings_share_a_node() {
    let builder = World::builder("mixed")
        .family(Family::Dual)
        .pod("bridged", Wiring::Bridge);
    let world = builder
        .pod("routed", Wiring::PointToPoint)
        .pod("lan", Wiring::MacvlanBridge)
        .build()
        .unwrap();
    for (from, to) in [("bridged", "routed"), ("routed", "bridged"), ("lan", "lan")] {
        for address in world.pod(to).addresses().iter() {
            let spec = ServerSpec::new(to, SocketAddr::new(address, 0));
            let server = Server::start(&world.pod(to).netns, &spec).unwrap();
            let seen = Client::exchange(&world.pod(from).netns, &ClientSpec::to(server.address())).unwrap();
            assert_eq!(Some(seen.server.peer.ip()), world.pod(from).address_like(address));
        }
    }
}

#[test]
fn host_interfaces_are_named_as_their_cni_names_them() {
    let world = World::builder("names")
        .pod("b", Wiring::Bridge)
        .pod("p", Wiring::PointToPoint);
    let world = world.pod("m", Wiring::MacvlanBridge).build().unwrap();
    assert!(world.pod("b").host_interface().unwrap().starts_with("veth"));
    assert!(world.pod("p").host_interface().unwrap().starts_with("cali"));
    assert_eq!(world.pod("m").host_interface(), None);
    for pod in world.pods() {
        let Some(name) = pod.host_interface() else {
            continue;
        };
        let link = world
            .node
            .netns
            .netlink(async |netlink| netlink.interface(name).await)
            .unwrap();
        assert!(link.up);
    }
}

#[test]
fn every_interface_has_the_worlds_mtu() {
    for wiring in Wiring::ALL {
        let world = World::builder("mtu")
            .wiring(wiring)
            .mtu(1400)
            .pods(["pod"])
            .build()
            .unwrap();
        let inside = world
            .pod("pod")
            .netns
            .netlink(async |netlink| netlink.interface("eth0").await)
            .unwrap();
        assert_eq!(
            (inside.mtu, inside.mac),
            (1400, Some(world.pod("pod").primary.mac))
        );
        let uplink = world
            .node
            .netns
            .netlink(async |netlink| netlink.interface("eth0").await)
            .unwrap();
        assert_eq!((uplink.mtu, uplink.mac), (1400, Some(world.node.mac)));
    }
}

#[test]
fn the_node_checks_reverse_paths_strictly() {
    let world = World::builder("strict").build().unwrap();
    assert_eq!(
        world
            .node
            .netns
            .sysctl_get("net.ipv4.conf.all.rp_filter")
            .unwrap(),
        "1"
    );
}

#[test]
fn a_pod_added_later_works_and_a_removed_one_is_gone() {
    for wiring in Wiring::ALL.into_iter().filter(|wiring| wiring.reaches_its_like()) {
        let mut world = World::builder("later")
            .wiring(wiring)
            .pods(["first"])
            .build()
            .unwrap();
        world.add_pod("second", wiring).unwrap();
        assert!(matches!(world.add_pod("second", wiring), Err(Error::PodExists(name)) if name == "second"));
        assert_ne!(world.pod("first").uid, world.pod("second").uid);
        let second = world.pod("second").clone();
        let server = Server::start(
            &second.netns,
            &ServerSpec::new("second", SocketAddr::new(second.address(), 0)),
        )
        .unwrap();
        let first = world.pod("first").netns.clone();
        let spec = ClientSpec::to(server.address()).deadline(Duration::from_millis(500));
        Client::exchange(&first, &spec).unwrap();

        world.remove_pod("second").unwrap();
        Client::exchange(&first, &spec).unwrap_err();
        if let Some(name) = second.host_interface() {
            world
                .node
                .netns
                .netlink(async |netlink| netlink.interface(name).await)
                .unwrap_err();
        }
        assert!(matches!(world.remove_pod("second"), Err(Error::NoPod(_))));
    }
}

#[test]
fn a_second_interface_reaches_its_own_subnet_from_its_own_address() {
    let mut world = World::builder("multus")
        .family(Family::Dual)
        .pods(["pod"])
        .build()
        .unwrap();
    let net1 = world
        .add_interface("pod", "net1", Wiring::MacvlanBridge)
        .unwrap()
        .clone();
    assert_eq!(net1.interface, "net1");
    for address in world.remote.addresses.iter() {
        let server = Server::start(
            &world.remote.netns,
            &ServerSpec::new("lan", SocketAddr::new(address, 0)),
        )
        .unwrap();
        let seen = Client::exchange(&world.pod("pod").netns, &ClientSpec::to(server.address())).unwrap();
        assert_eq!(Some(seen.server.peer.ip()), net1.addresses.like(address));
    }
}

#[test]
fn a_world_holds_many_pods_and_says_when_it_is_full() {
    let mut world = World::builder("many").build().unwrap();
    let full = (0..300).find_map(|number| world.add_pod(&format!("pod{number}"), Wiring::Bridge).err());
    assert!(matches!(full, Some(Error::Full)));
    assert!(world.pods().len() > 200);
}
