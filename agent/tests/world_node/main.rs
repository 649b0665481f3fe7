//! Pods whose connections are redirected on the node, to a ztunnel in a pod of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

/// Each test on each wiring whose pods have an interface on the node.
macro_rules! on_every_wiring {
    ($($test:ident),+ $(,)?) => {
        mod bridge {
            $(#[test] fn $test() { super::$test(weir_testbeds::world::Wiring::Bridge); })+
        }
        mod point_to_point {
            $(#[test] fn $test() { super::$test(weir_testbeds::world::Wiring::PointToPoint); })+
        }
    };
}

mod life;
mod proof;
mod reach;
mod safety;
mod scene;
