//! Pods whose connections are redirected on the node, to a ztunnel in a pod of its own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test fails by panicking, and takes what it needs of what others share"
)]

/// Makes a test of each function for ways of connecting a pod to its node.
macro_rules! on_every_wiring {
    ($($test:ident),+ $(,)?) => {
        on_wiring!(bridge, Bridge, $($test),+);
        on_wiring!(point_to_point, PointToPoint, $($test),+);
    };
}

/// The same for other people's ways.
macro_rules! on_other_wirings {
    ($($test:ident),+ $(,)?) => {
        on_wiring!(azure_transparent, AzureTransparent, $($test),+);
        on_wiring!(azure_bridge, AzureBridge, $($test),+);
        on_wiring!(aws_vpc, AwsVpc, $($test),+);
        on_wiring!(gke, Gke, $($test),+);
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
#[path = "../support/foreign.rs"]
mod foreign_programs;
#[path = "../support/frame.rs"]
mod frame;
#[path = "../support/state.rs"]
mod state;
#[path = "../support/tally.rs"]
mod tally;

mod again;
mod cleanup;
mod eras;
mod filters;
mod foreign;
mod forged;
mod heavy;
mod life;
mod listeners;
mod macvlan;
mod mixed;
mod narrow;
mod netkit;
mod proof;
mod reach;
mod safety;
mod scene;
mod sideless;
mod two_nodes;
