//! What annotations include and exclude, on each way by which connections get to ztunnel.

use weir_testbeds::mesh::Builder;
use weir_testbeds::proxy::Direction;
use weir_testbeds::world::Wiring;

use crate::annotated::{self, INBOUND, OUTBOUND};
use crate::life::count;
use crate::macvlan;
use crate::scene::{assert_captured, builder, exchange, of_remote, serve};

/// A module for a way by which connections get to ztunnel.
macro_rules! on_way {
    ($way:ident, $builder:expr, $($test:ident),+ $(,)?) => {
        mod $way {
            use super::*;
            $(#[test]
            fn $test() {
                super::$test($builder);
            })+
        }
    };
}

// Redirected at an interface of the node.
on_way!(
    tc,
    |name| builder(name, Wiring::PointToPoint),
    outbound_is_decided_as_the_reference_says,
    inbound_is_decided_as_the_reference_says,
    the_bypass_lets_everything_in,
);

// Made to ztunnel in the first place; inbound steered to it.
on_way!(
    socket,
    |name| macvlan::builder(name, "socket"),
    outbound_is_decided_as_the_reference_says,
    inbound_is_decided_as_the_reference_says,
    the_bypass_lets_everything_in,
);

// Steered to it; inbound is as above.
on_way!(
    steer,
    |name| macvlan::builder(name, "steer"),
    outbound_is_decided_as_the_reference_says,
);

fn outbound_is_decided_as_the_reference_says(builder: fn(&str) -> Builder) {
    let builder = annotated::with_pods(builder("node-outbound"), &OUTBOUND);
    annotated::assert_outbound_as_the_reference_says(&builder.start().unwrap());
}

fn inbound_is_decided_as_the_reference_says(builder: fn(&str) -> Builder) {
    let mesh = annotated::with_pods(builder("node-inbound"), &INBOUND)
        .start()
        .unwrap();
    annotated::assert_inbound_as_the_reference_says(&mesh, |seen| {
        assert_captured(&mesh, Direction::Inbound, seen);
    });
}

fn the_bypass_lets_everything_in(builder: fn(&str) -> Builder) {
    let mesh = annotated::bypassing(builder("node-bypass"), "server")
        .start()
        .unwrap();
    annotated::assert_everything_comes_in(&mesh, "server");
    let _server = serve(&mesh.world.remote.netns);
    for to in of_remote(&mesh) {
        let seen = exchange(&mesh.pod("server").netns, to);
        assert!(seen.was_captured(), "{seen:?}");
    }
    assert_eq!(count(&mesh, "server", "inbound"), 0);
}
