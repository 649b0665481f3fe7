//! The settings in the kernel are changed by the agent and by `weir trace` at once.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[expect(dead_code, reason = "not all of it is used here")]
mod own_datapath;

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use own_datapath::OwnDatapath;
use weir_agent::datapath::Datapath;
use weir_agent::run::node::change_settings;
use weir_common::node::NodeSettings;

/// Longer than a change takes that does not wait.
const A_MOMENT: Duration = Duration::from_millis(500);

#[test]
fn no_change_is_lost_to_another() {
    let own = OwnDatapath::new("settings");
    // As another process sees it.
    let other = Datapath::adopt(own.datapath.pins().clone());
    let ((begin, begun), (end, ended)) = (channel(), channel());
    thread::scope(|scope| {
        scope.spawn(move || {
            begun.recv().unwrap();
            change_settings(&other, |settings| settings.flags |= NodeSettings::TRACE).unwrap();
            end.send(()).unwrap_or_default();
        });
        change_settings(&own.datapath, |settings| {
            begin.send(()).unwrap();
            let overtaken = ended.recv_timeout(A_MOMENT).is_ok();
            assert!(!overtaken, "what it has written is about to be undone");
            settings.flags |= NodeSettings::TRUST_MARK_ALONE;
        })
        .unwrap();
    });
    let settings = own.datapath.maps().node().unwrap().get(&0, 0).unwrap();
    assert_eq!(
        settings.flags,
        NodeSettings::TRACE | NodeSettings::TRUST_MARK_ALONE
    );
}
