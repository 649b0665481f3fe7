//! The settings in the kernel are changed by the agent and by `weir trace` at once.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "not all of it is used here")]
mod own_datapath;

use std::thread;

use own_datapath::OwnDatapath;
use weir_agent::datapath::Datapath;
use weir_agent::run::node::change_settings;
use weir_common::node::NodeSettings;

const ROUNDS: usize = 2000;

/// Switches a flag on and off, and says how often it was not as it had been left.
fn flips(datapath: &Datapath, flag: u32) -> usize {
    let mut lost = 0;
    let mut is_on = false;
    for _ in 0..ROUNDS {
        change_settings(datapath, |settings| {
            lost += usize::from(settings.has(flag) != is_on);
            settings.flags ^= flag;
            is_on = settings.has(flag);
            // Whoever waits for the processor has it now.
            thread::yield_now();
        })
        .unwrap();
    }
    lost
}

#[test]
fn no_change_is_lost_to_another() {
    let own = OwnDatapath::new("settings");
    // As another process sees it.
    let other = Datapath::adopt(own.datapath.pins().clone());
    let lost = thread::scope(|scope| {
        let trace = scope.spawn(|| flips(&other, NodeSettings::TRACE));
        let trust = flips(&own.datapath, NodeSettings::TRUST_MARK_ALONE);
        [trace.join().unwrap(), trust]
    });
    assert_eq!(lost, [0, 0]);
}
