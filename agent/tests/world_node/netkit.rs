//! Pods and ztunnel on netkit, which not every kernel has; `./x test vm` tries it where it is.

use weir_testbeds::drivers::unless_missing;
use weir_testbeds::proxy::Direction;
use weir_testbeds::world::Wiring;

use crate::scene::{assert_captured, builder, exchange, of_pod, of_remote, serve};

#[test]
fn the_world_reaches_pods_and_is_reached_through_ztunnel() {
    let builder = builder("node-netkit", Wiring::Netkit);
    let Some(world) = unless_missing(Wiring::Netkit, builder.world()).unwrap() else {
        return;
    };
    let mesh = builder.start_in(world).unwrap();
    let _server = serve(&mesh.world.remote.netns);
    let _application = serve(&mesh.pod("server").netns);
    for to in of_remote(&mesh) {
        assert_captured(
            &mesh,
            Direction::Outbound,
            &exchange(&mesh.pod("client").netns, to),
        );
    }
    for to in of_pod(&mesh, "server") {
        assert_captured(&mesh, Direction::Inbound, &exchange(&mesh.world.remote.netns, to));
    }
}
