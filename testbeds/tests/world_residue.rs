//! Nothing is left: after a panic inside a world, and after a process with a world is killed.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use weir_testbeds::actor::{Actor, supervised};
use weir_testbeds::cgroup::{self, Cgroup};
use weir_testbeds::deadline::{PATIENCE, eventually};
use weir_testbeds::link::Device;
use weir_testbeds::netns::Netns;
use weir_testbeds::process::Process;
use weir_testbeds::residue::{Residue, Thing};
use weir_testbeds::traffic::{Server, ServerSpec};
use weir_testbeds::unique::{self, Owner};
use weir_testbeds::world::World;

const TETHER: &str = "tether0";
const VICTIM: &str = "WEIR_TEST_VICTIM";

/// Everything a test can own, with a veth from the world into the namespace the test runs in.
struct Estate {
    world: World,
    _cgroup: Cgroup,
    _actor: Actor,
    _program: Process,
    _server: Server,
}

impl Estate {
    fn found() -> Self {
        let world = World::builder("estate").pods(["pod"]).build().unwrap();
        let (near, far) = (Device::named(TETHER), Device::named("far"));
        let home = Netns::current().unwrap();
        let tether = async |netlink: weir_testbeds::netlink::Netlink| {
            netlink.add_veth(&near, &far, &world.node.netns).await
        };
        home.netlink(tether).unwrap();
        let cgroup = Cgroup::new("estate").unwrap();
        let actor = Actor::start(&world.pod("pod").netns, Some(&cgroup)).unwrap();
        let mut sleep = supervised("sleep", Some(&cgroup)).unwrap();
        sleep.arg("600").stdout(Stdio::null());
        let program = world.node.netns.spawn(sleep).unwrap();
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(&world.pod("pod").netns, &ServerSpec::new("app", bind)).unwrap();
        Self {
            world,
            _cgroup: cgroup,
            _actor: actor,
            _program: program,
            _server: server,
        }
    }
}

/// Snapshots see the whole process, so these tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_panic_inside_a_world_leaves_nothing() {
    let _turn = alone();
    Netns::new().unwrap().run(|| {
        let before = Residue::snapshot().unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let estate = Estate::found();
            let _published = estate.world.node.netns.publish(&unique::name("node")).unwrap();
            estate.world.pod("pod").netns.run(|| panic!("in the pod"));
        }));
        assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"in the pod"));
        before.assert_unchanged();
    });
}

#[test]
fn the_check_notices_each_kind_of_thing() {
    let _turn = alone();
    Netns::new().unwrap().run(|| {
        let before = Residue::snapshot().unwrap();
        let estate = Estate::found();
        let published = estate.world.node.netns.publish(&unique::name("node")).unwrap();
        let left = before.leftovers_now().unwrap().0;
        assert!(left.contains(&Thing::Link(TETHER.to_owned())), "{left:?}");
        assert!(
            left.contains(&Thing::NamedNetns(published.path().to_owned())),
            "{left:?}"
        );
        assert!(
            left.iter().any(|thing| matches!(thing, Thing::Cgroup(_))),
            "{left:?}"
        );
        assert!(
            left.iter().any(|thing| matches!(thing, Thing::Process(_))),
            "{left:?}"
        );
        drop((estate, published));
        before.assert_unchanged();
    });
}

#[test]
fn the_check_notices_a_pin_wherever_bpffs_is_mounted() {
    let _turn = alone();
    Netns::new().unwrap().run(|| {
        // A mount namespace of this thread alone, so that nobody else sees the mounts.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let (none, all): (Option<&str>, MsFlags) = (None, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
        mount(none, "/", none, all, none).unwrap();
        mount(none, "/tmp", Some("bpf"), MsFlags::empty(), none).unwrap();
        let before = Residue::snapshot().unwrap();
        let pin = Path::new("/tmp").join("below").join(unique::name("pin"));
        std::fs::create_dir_all(&pin).unwrap();
        assert_eq!(before.leftovers_now().unwrap().0, [Thing::Pin(pin.clone())]);
        std::fs::remove_dir(&pin).unwrap();
        before.assert_unchanged();
    });
}

#[test]
fn a_killed_process_leaves_no_namespace_and_no_process() {
    let _turn = alone();
    let home = Netns::new().unwrap();
    let mut command = supervised(std::env::current_exe().unwrap(), None).unwrap();
    command
        .args(["--exact", "the_victim", "--nocapture"])
        .env(VICTIM, "1");
    let victim = home.spawn(command).unwrap();
    let tethered = || {
        home.netlink(async |netlink| netlink.interface(TETHER).await)
            .is_ok()
    };
    eventually(PATIENCE, || tethered().then_some(())).unwrap();
    let owner = Owner::of(victim.id()).unwrap();
    let cgroup = eventually(PATIENCE, || cgroup_of(owner)).unwrap();
    let members = eventually(PATIENCE, || Some(members(&cgroup)).filter(|all| all.len() == 2)).unwrap();
    // Orphans come to this process, so that it can reap them, and not to an init that may not.
    set_child_subreaper(true).unwrap();

    victim.signal(Signal::SIGKILL).unwrap();

    for member in members {
        // Until the victim is gone, its children are not this process's to wait for.
        let ended = || waitpid(member, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some());
        eventually(PATIENCE, || ended().then_some(())).unwrap();
    }
    eventually(PATIENCE, || (!owner.is_alive()).then_some(())).unwrap();
    // The veth ends with the namespace at its other end, so that one is gone, too.
    eventually(PATIENCE, || (!tethered()).then_some(())).unwrap();
    // A directory cannot vanish by itself: whoever makes the next cgroup removes it.
    let _next = Cgroup::new("next").unwrap();
    assert!(!cgroup.exists());
}

/// Not a test by itself: the process that the test above kills.
#[test]
fn the_victim() {
    if std::env::var_os(VICTIM).is_some() {
        let _estate = Estate::found();
        loop {
            std::thread::park();
        }
    }
}

fn members(cgroup: &Path) -> Vec<Pid> {
    let members = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    members
        .lines()
        .map(|line| Pid::from_raw(line.parse().unwrap()))
        .collect()
}

fn cgroup_of(owner: Owner) -> Option<PathBuf> {
    cgroup::ours()
        .unwrap()
        .into_iter()
        .find(|(_, other)| *other == owner)
        .map(|(path, _)| path)
}
