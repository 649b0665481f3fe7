//! Captures see what passes an interface, and only that.

use std::net::SocketAddr;

use weir_testbeds::capture::Capture;
use weir_testbeds::traffic::{Client, ClientSpec, Server, ServerSpec};
use weir_testbeds::world::{Family, World};

#[test]
fn a_connection_is_seen_on_the_pods_interface_with_its_macs() {
    let world = World::builder("capture")
        .family(Family::Dual)
        .pods(["client", "server"])
        .build()
        .unwrap();
    let (client, server) = (world.pod("client"), world.pod("server"));
    for to in server.addresses().iter() {
        let app = Server::start(&server.netns, &ServerSpec::new("app", SocketAddr::new(to, 0))).unwrap();
        let capture = Capture::start(&client.netns, "eth0").unwrap();
        let elsewhere = Capture::start(&client.netns, "lo").unwrap();
        let seen = Client::exchange(&client.netns, &ClientSpec::to(app.address())).unwrap();

        let syns = capture.tcp_syns();
        assert_eq!(syns.len(), 1);
        assert_eq!((syns[0].source, syns[0].destination), (seen.local, seen.peer));
        assert!(syns[0].outgoing);
        assert_eq!(elsewhere.frames(), []);

        let frames = capture.frames();
        let sent = frames.iter().find(|frame| frame.tcp == Some(syns[0])).unwrap();
        assert_eq!(
            (sent.source, sent.destination),
            (Some(client.primary.mac), Some(server.primary.mac))
        );
        let ping = capture
            .segments()
            .into_iter()
            .filter(|segment| segment.outgoing && segment.payload > 0);
        assert_eq!(ping.map(|segment| segment.payload).collect::<Vec<_>>(), [4]);
    }
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let world = World::builder("capture").build().unwrap();
    let error = Capture::start(&world.node.netns, "eth9").unwrap_err();
    assert!(error.to_string().contains("eth9"), "{error}");
}
