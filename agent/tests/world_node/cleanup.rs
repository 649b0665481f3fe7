//! However everything of ours is taken away, the world is as it was before there was an agent.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd as _;
use std::process::Command;

use weir_agent::datapath::{Hook, Pins};
use weir_agent::inside;
use weir_testbeds::mesh::{Builder, Mesh};
use weir_testbeds::world::{Pod, Wiring, World};

use crate::scene::{assert_direct, builder, by, exchange, mesh_of_the_stand_in, of_remote, programs, serve};
use crate::state::state;

on_every_wiring! { cleaning_up_leaves_nothing }

/// All namespaces of the world, before and after.
fn states(world: &World) -> Vec<BTreeSet<String>> {
    let pods = world.pods().iter().map(|pod| &pod.netns);
    let netns = pods.chain([&world.node.netns]);
    netns.map(state).collect()
}

fn cleanup(mesh: &Mesh) -> Command {
    let mut cleanup = mesh.agent.command("cleanup").unwrap();
    cleanup.arg("--host-netns").arg(mesh.world.node.netns.path());
    cleanup
}

fn idle() -> Command {
    let mut idle = Command::new("sleep");
    idle.arg("60");
    idle
}

fn cleaned_up(mesh: &mut Mesh) {
    mesh.agent.kill();
    let output = cleanup(mesh).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// However everything of ours is taken away, the world is as it was before there was an agent.
fn assert_nothing_is_left(builder: &Builder, end: fn(&mut Mesh)) {
    let world = builder.world().unwrap();
    let before = states(&world);
    let mut mesh = builder.clone().start_in(world).unwrap();
    // Processes are what leads to namespaces that have no name.
    let lives = |pod: &Pod| pod.netns.spawn(idle()).unwrap();
    let _processes: Vec<_> = mesh.world.pods().iter().map(lives).collect();
    assert_ne!(states(&mesh.world), before);
    let _server = serve(&mesh.world.remote.netns);
    let to = of_remote(&mesh);
    for to in &to {
        assert!(exchange(&mesh.pod("client").netns, *to).was_captured());
    }
    end(&mut mesh);
    assert!(!mesh.agent.pin_root().exists());
    for (after, before) in states(&mesh.world).iter().zip(&before) {
        let changes: Vec<_> = after.symmetric_difference(before).collect();
        assert_eq!(changes, [""; 0]);
    }
    for to in to {
        assert_direct(&exchange(&mesh.pod("client").netns, to));
    }
}

/// Both ways to take everything away, of programs that were put at interfaces in both ways.
pub fn assert_nothing_is_left_either_way(builder: &Builder) {
    for hook in [Hook::of_this_kernel(), Hook::Clsact] {
        assert_nothing_is_left(&builder.clone().flag(&by(hook)), cleaned_up);
        let leaving = builder.clone().flag(&by(hook)).flag("--remove-on-exit");
        assert_nothing_is_left(&leaving, |mesh| mesh.agent.terminate().unwrap());
    }
}

fn cleaning_up_leaves_nothing(wiring: Wiring) {
    assert_nothing_is_left_either_way(&builder("node-clean", wiring));
}

/// Somebody has mounted something in the directory of the fences: it cannot be removed.
#[test]
fn cleaning_up_goes_on_after_a_failure() {
    let mut mesh = mesh_of_the_stand_in("node-stuck", Wiring::PointToPoint);
    mesh.agent.kill();
    let host = inside::cookie(mesh.world.node.netns.as_fd()).unwrap();
    let stuck = Pins::new(mesh.agent.pin_root()).place_link(host, "stuck");
    fs::create_dir_all(&stuck).unwrap();
    let cleanup = cleanup(&mesh);
    let mut cleanup_there = Command::new("unshare");
    cleanup_there
        .args(["--mount", "sh", "-c", r#"mount -t tmpfs none "$0" && exec "$@""#])
        .arg(&stuck)
        .arg(cleanup.get_program())
        .args(cleanup.get_args());
    let output = cleanup_there.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("stuck"), "{said}");
    assert_eq!(programs(&mesh, "client"), []);
    cleaned_up(&mut mesh);
    assert!(!mesh.agent.pin_root().exists());
}
