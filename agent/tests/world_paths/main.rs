//! Who reaches whom through the mesh, what each side sees, and what stays out of the proxy's way.
//!
//! With `WEIR_ZTUNNEL` the proxy is a real ztunnel; the few tests that only the stand-in can carry say so.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

/// Makes a test of each function for every way of wiring a pod.
macro_rules! on_every_wiring {
    ($($test:ident),+ $(,)?) => {
        on_wiring!(bridge, Bridge, $($test),+);
        on_wiring!(point_to_point, PointToPoint, $($test),+);
        on_wiring!(macvlan, MacvlanBridge, $($test),+);
    };
}

/// The same for the wirings over which the node itself reaches its pods.
macro_rules! on_reachable_wirings {
    ($($test:ident),+ $(,)?) => {
        on_wiring!(bridge, Bridge, $($test),+);
        on_wiring!(point_to_point, PointToPoint, $($test),+);
    };
}

macro_rules! on_wiring {
    ($module:ident, $wiring:ident, $($test:ident),+) => {
        mod $module {
            $(#[test]
            fn $test() {
                super::$test(weir_testbeds::world::Wiring::$wiring);
            })+
        }
    };
}

mod dialogue;
mod scene;

mod devices;
mod dns;
mod filters;
mod interfaces;
mod itself;
mod probes;
mod reach;
mod reuse;
mod sockets;
