//! Pins size and layout of every struct that kernel and user side share: a change here is a change of
//! `LAYOUT_VERSION`.

use std::mem::{align_of, offset_of, size_of};

use weir_common::address::{Address, OwnAddress};
use weir_common::claim::{Claim, ClientPort};
use weir_common::detour::{ClientEnd, Detour, Original};
use weir_common::event::{CounterKey, Event};
use weir_common::filter::{PortRule, RangeRule};
use weir_common::flow::{Decided, Ends, Flow, SocketNote};
use weir_common::interface::InterfaceKey;
use weir_common::listener::{ListenerKey, PortKey};
use weir_common::local_pod::LocalPod;
use weir_common::node::NodeSettings;
use weir_common::pod::{PodEntry, PodRecord, Shown};
use weir_common::ztunnel::{NodeContract, ZtunnelPlace};

macro_rules! layout {
    ($name:ident, size $size:literal, align $align:literal, $($field:ident at $offset:literal),+) => {
        assert_eq!(size_of::<$name>(), $size, concat!("size of ", stringify!($name)));
        assert_eq!(align_of::<$name>(), $align, concat!("alignment of ", stringify!($name)));
        // Exhaustive: a new field does not compile until it is listed here.
        let $name { $($field: _),+ } = $name::default();
        $(assert_eq!(offset_of!($name, $field), $offset, concat!(stringify!($name), ".", stringify!($field)));)+
    };
}

/// An agent takes over pods that one of any other layout, older or newer, has captured.
#[test]
fn what_all_layouts_have_in_common_stays() {
    assert_eq!((PodEntry::HEAD, offset_of!(PodRecord, entry)), (8, 0));
    assert_eq!(
        (offset_of!(PodEntry, flags), offset_of!(PodEntry, sysctls)),
        (0, 4)
    );
    assert_eq!((NodeSettings::HEAD, offset_of!(NodeSettings, flags)), (24, 20));
    assert_eq!(NodeSettings::TRUST_MARK_ALONE, 1 << 2);
    let flags = [
        PodEntry::CAPTURING,
        PodEntry::DRAINING,
        PodEntry::NODE,
        PodEntry::RULES,
    ];
    assert_eq!(flags, [1 << 0, 1 << 7, 1 << 9, 1 << 3 | 1 << 4]);
}

#[test]
fn shared_structs_lie_in_memory_as_the_pins_of_this_version_expect() {
    layout!(Address, size 16, align 4, words at 0);
    layout!(OwnAddress, size 24, align 8, netns at 0, address at 8);
    layout!(PodEntry, size 8, align 4, flags at 0, sysctls at 4);
    layout!(Shown, size 56, align 4, complete at 0, reserved at 4, addresses at 8);
    layout!(PodRecord, size 64, align 4, entry at 0, shown at 8);
    layout!(NodeSettings, size 32, align 8, host_netns at 0, pods_cgroup at 8, pods_cgroup_level at 16, flags at 20,
        ztunnel at 24);
    layout!(ListenerKey, size 16, align 8, netns at 0, port at 8, slot at 12);
    layout!(PortKey, size 16, align 8, netns at 0, port at 8, reserved at 12);
    layout!(InterfaceKey, size 16, align 8, netns at 0, index at 8, reserved at 12);
    layout!(PortRule, size 16, align 8, netns at 0, direction at 8, port at 10, reserved at 12);
    layout!(RangeRule, size 24, align 4, netns at 0, address at 8);
    layout!(Flow, size 48, align 8, netns at 0, source at 8, destination at 24, source_port at 40,
        destination_port at 42, reserved at 44);
    layout!(ClientPort, size 32, align 8, netns at 0, address at 8, port at 24, reserved at 28);
    layout!(Claim, size 8, align 4, users at 0, given at 4);
    layout!(SocketNote, size 32, align 8, kind at 0, port at 4, address at 8, netns at 24);
    layout!(Ends, size 36, align 4, peer at 0, pod at 16, peer_port at 32, pod_port at 34);
    layout!(Decided, size 16, align 8, what at 0, ztunnel at 4, netns at 8);
    layout!(LocalPod, size 32, align 8, netns at 0, interface at 8, flags at 12, mac at 16, gateway at 22,
        reserved at 28);
    layout!(ZtunnelPlace, size 24, align 8, netns at 0, interface at 8, mac at 12, steered at 18);
    layout!(NodeContract, size 12, align 4, current at 0, flags at 4, secret at 8, implied at 11);
    layout!(Event, size 88, align 8, time_ns at 0, netns at 8, source at 16, destination at 32, turned_to at 48,
        source_port at 64, destination_port at 66, turned_to_port at 68, reason at 72, process at 76, untold at 80,
        reserved at 84);
    layout!(Detour, size 32, align 4, v4 at 0, v6 at 16);
    layout!(ClientEnd, size 20, align 4, address at 0, port at 16);
    layout!(Original, size 32, align 8, address at 0, port at 16, reserved at 20, socket at 24);
    layout!(CounterKey, size 16, align 8, netns at 0, reason at 8, reserved at 12);
}
