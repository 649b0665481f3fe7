//! `weir cleanup` leaves nothing behind and touches nothing that is not Weir's.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "support/state.rs"]
mod state;

use std::fs;
use std::process::Command;

use state::{ip, state};
use weir_testbeds::mesh::Mesh;
use weir_testbeds::world::{Family, Wiring};

#[test]
fn everything_of_ours_goes_and_nothing_else() {
    let mut mesh = Mesh::builder("cleanup")
        .wiring(Wiring::Bridge)
        .family(Family::Dual)
        .outside("client")
        .start()
        .unwrap();
    // A process is what leads to a namespace that has no name.
    let netns = mesh.pod("client").netns.clone();
    let mut idle = Command::new("sleep");
    idle.arg("60");
    let _process = netns.spawn(idle).unwrap();
    // Somebody else's, next to ours.
    ip(&netns, "rule add pref 14 from 10.255.0.1 table 99");
    let before = state(&netns);
    mesh.relabel("client", true).unwrap();
    let enrolled = state(&netns);
    assert_ne!(enrolled, before);

    let refused = mesh.agent.run("cleanup", &[]).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("--force"),
        "{refused:?}"
    );
    assert_eq!(state(&netns), enrolled);

    let socket = mesh.agent.zds_socket().with_file_name("admin.sock");
    let hidden = socket.with_extension("hidden");
    fs::rename(&socket, &hidden).unwrap();
    let refused = mesh.agent.run("cleanup", &[]).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("another weir agent keeps its programs here"),
        "{refused:?}"
    );
    assert_eq!(state(&netns), enrolled, "an agent that does not answer runs too");
    fs::rename(&hidden, &socket).unwrap();

    mesh.agent.kill();
    let down = mesh.agent.run("status", &["-o", "json"]).unwrap();
    assert_eq!(down.status.code(), Some(3), "{down:?}");
    let told: serde_json::Value = serde_json::from_slice(&down.stdout).unwrap();
    assert_eq!(told["pinned"].as_array().unwrap().len(), 1, "{told:#}");
    assert_eq!(told["pinned"][0]["kernel"]["lookup_attached"], true, "{told:#}");
    assert_eq!(state(&netns), enrolled, "a crash changes nothing");

    let cleaned = mesh.agent.run("cleanup", &[]).unwrap();
    assert_eq!(cleaned.status.code(), Some(0), "{cleaned:?}");
    assert!(!mesh.agent.pin_root().exists());
    assert_eq!(state(&netns), before);

    let again = mesh.agent.run("cleanup", &[]).unwrap();
    assert_eq!(
        (again.status.code(), again.stdout.as_slice()),
        (Some(0), &b"nothing to remove\n"[..])
    );
}
