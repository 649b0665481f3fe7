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

/// The same for other people's ways of connecting a veth.
macro_rules! on_other_veths {
    ($($test:ident),+ $(,)?) => {
        on_wiring!(azure_transparent, AzureTransparent, $($test),+);
        on_wiring!(azure_bridge, AzureBridge, $($test),+);
        on_wiring!(aws_vpc, AwsVpc, $($test),+);
        on_wiring!(gke, Gke, $($test),+);
    };
}

/// The same for the wirings by which pods of one node do not reach each other.
macro_rules! on_lonely_wirings {
    ($($test:ident),+ $(,)?) => {
        on_wiring!(macvlan_vepa, MacvlanVepa, $($test),+);
        on_wiring!(macvlan_private, MacvlanPrivate, $($test),+);
        on_wiring!(macvlan_passthru, MacvlanPassthru, $($test),+);
        on_wiring!(device, Device, $($test),+);
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

#[path = "../support/annotated.rs"]
mod annotated;
#[path = "../support/tally.rs"]
#[expect(
    dead_code,
    clippy::panic,
    reason = "a test that cannot go on says so by a panic; each uses its part of what tests share"
)]
mod tally;

mod dialogue;
mod scene;

mod devices;
mod dns;
mod filters;
mod interfaces;
mod itself;
mod link_local;
mod machines;
mod probes;
mod reach;
mod reuse;
mod sockets;
