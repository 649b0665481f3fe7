//! What annotations include and exclude: the kernel decides as the reference does.

use weir_testbeds::world::Wiring;

use crate::annotated::{self, INBOUND, OUTBOUND};
use crate::scene::{assert_inbound, assert_outbound, builder, exchange, remote, serve_remote};

// The decision does not depend on the wiring, and there is much to compare.
on_wiring!(
    point_to_point,
    PointToPoint,
    outbound_is_decided_as_the_reference_says,
    inbound_is_decided_as_the_reference_says,
    the_bypass_lets_everything_in
);

fn outbound_is_decided_as_the_reference_says(wiring: Wiring) {
    let builder = annotated::with_pods(builder("outbound", wiring), &OUTBOUND);
    annotated::assert_outbound_as_the_reference_says(&builder.start().unwrap());
}

fn inbound_is_decided_as_the_reference_says(wiring: Wiring) {
    let mesh = annotated::with_pods(builder("inbound", wiring), &INBOUND)
        .start()
        .unwrap();
    annotated::assert_inbound_as_the_reference_says(&mesh, |seen| _ = assert_inbound(&mesh, seen));
}

fn the_bypass_lets_everything_in(wiring: Wiring) {
    let mesh = annotated::bypassing(builder("bypass", wiring), "server")
        .start()
        .unwrap();
    annotated::assert_everything_comes_in(&mesh, "server");
    let _server = serve_remote(&mesh);
    for to in remote(&mesh) {
        assert_outbound(&mesh, &exchange(&mesh.pod("server").netns, to), to);
    }
}
